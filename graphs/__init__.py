"""The dialogue as a LangGraph state machine (dialogue), and what runs many of them (grow)."""
