"""Pages: a dialogue made ready for reading (reading.py), the templates and the style sheet they share."""
