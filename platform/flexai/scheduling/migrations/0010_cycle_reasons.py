"""What a cycle decided, and for which reasons jobs waited, is kept with its row."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0009_mix")]
    operations = [
        migrations.AddField("cycle", "decided", models.JSONField(default=list, db_default=[])),
        migrations.AddField("cycle", "reasons", models.JSONField(default=list, db_default=[])),
    ]
