"""A page of Streamlit: its buttons and answers go over one WebSocket."""

import hashlib
import os
from pathlib import Path

import streamlit

presses = Path(os.environ["DATA"]) / "presses"

streamlit.title("An agent")
if streamlit.button("Press"):
    presses.write_text(str(int(presses.read_text()) + 1 if presses.exists() else 1))
streamlit.write(f"presses: {presses.read_text() if presses.exists() else 0}")
name = streamlit.text_input("Name")
if name:
    streamlit.write(f"hello {name}")
file = streamlit.file_uploader("File")
if file:
    streamlit.write(f"sha256 {hashlib.sha256(file.getvalue()).hexdigest()}")
