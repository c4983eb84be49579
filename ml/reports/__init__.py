"""What a person is shown of a version: facts, explanation, pictures, card, and its mirror in MLflow."""
