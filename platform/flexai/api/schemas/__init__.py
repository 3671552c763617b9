"""The shapes of questions and answers, for the OpenAPI document. Answers are plain dictionaries of these
shapes: building them through serializers would cost more than everything else a list does."""
