"""The audit log is append-only for TRUNCATE too, which triggers of rows do not see."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0019_secrets")]
    operations = [
        migrations.RunSQL(
            "CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON tenancy_auditentry "
            "FOR EACH STATEMENT EXECUTE FUNCTION flexai_refuse_change()",
            "DROP TRIGGER append_only_truncate ON tenancy_auditentry",
        )
    ]
