"""What each command does: call the library, write its files, show the page."""
