"""Secrets of teams, sealed."""

import django.db.models.deletion
from django.db import migrations, models

import flexai.tenancy.models


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0018_one_index_of_the_audit")]
    operations = [
        migrations.CreateModel(
            name="Secret",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "public_id",
                    models.CharField(
                        default=flexai.tenancy.models._secret_id, editable=False, max_length=32, unique=True
                    ),
                ),
                ("name", models.CharField(max_length=128)),
                ("sealed", models.TextField(editable=False)),
                ("set_by", models.CharField(max_length=200)),
                ("set_at", models.DateTimeField()),
                ("used_at", models.DateTimeField(null=True)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenancy.organization"
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="secrets",
                        to="tenancy.team",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("team", "name"), name="one_secret_of_a_name")],
            },
        ),
    ]
