"""Between the people who ask and the app that answers: requests wait here until what answers is what is on disk."""
