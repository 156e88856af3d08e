"""Pictures: specs of Vega-Lite, drawn scenes, and the pictures that an advice holds."""
