"""The Amplify tab: low frequencies of a pipeline's blocks, amplified and compared on equal seeds."""
