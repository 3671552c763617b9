"""Days and instants sort as text, and instants have their seconds: what happened first can be seen."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i:s"
