SELECT name, project_id, scopes FROM headcount_token WHERE digest = %(digest)s AND revoked_at IS NULL
