"""Contracts: what every member of a family must do, as pytest classes that a plug-in's tests inherit.

A distribution that offers an estimator tests it in four lines:

    from advisor.testing.estimator_contract import EstimatorContract

    class TestMine(EstimatorContract):
        @pytest.fixture
        def estimator(self):
            return Mine()

Only the modules named `…_contract` need pytest.
"""
