"""Service of ended attempts, per team and chip type, until it is rolled up."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0002_feed_and_audit")]
    operations = [
        migrations.AddField("teamuse", "accrued", models.BigIntegerField(default=0, db_default=0)),
    ]
