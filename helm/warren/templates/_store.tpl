{{/* Where the server records jobs. */}}

{{- define "warren.store.claim" -}}
{{- .Values.store.sqlite.persistence.existingClaim | default (printf "%s-data" (include "warren.server.name" .)) -}}
{{- end -}}

{{- define "warren.store.env" -}}
{{- $folder := include "warren.secretsFolder" . -}}
{{- if eq .Values.store.mode "sqlite" }}
- name: WARREN_STORE_URL
  value: sqlite:////data/warren.db
{{- else }}
{{- with .Values.store.postgresql }}
- name: WARREN_STORE_URL
{{- if .existingSecret.urlKey }}
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret.name | quote }}
      key: {{ .existingSecret.urlKey | quote }}
{{- else }}
  value: {{ printf "postgresql://%s@%s:%d/%s?sslmode=%s%s" (urlquery .username) .host (int .port) (urlquery .database) .sslMode (ternary (printf "&sslrootcert=%s/%s/%s" $folder .caSecret.name .caSecret.key) "" (ne .caSecret.name "")) | quote }}
- name: WARREN_STORE_PASSWORD_FILE
  value: {{ $folder }}/{{ .existingSecret.name }}/{{ .existingSecret.passwordKey }}
{{- end }}
{{- end }}
{{- end }}
- name: WARREN_STORE_WAIT_SECONDS
  value: {{ .Values.store.waitSeconds | quote }}
{{- end -}}

{{/* A YAML list of {secret, key} the store needs. */}}
{{- define "warren.store.files" -}}
{{- $files := list -}}
{{- if eq .Values.store.mode "postgresql" -}}
{{- with .Values.store.postgresql -}}
{{- if not .existingSecret.urlKey -}}
{{- $files = append $files (dict "secret" .existingSecret.name "key" .existingSecret.passwordKey) -}}
{{- end -}}
{{- if .caSecret.name -}}
{{- $files = append $files (dict "secret" .caSecret.name "key" .caSecret.key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $files -}}
{{- end -}}
