{{/* How a component reaches RabbitMQ. Logins are files named <secret>/<key>, so that a log line names both. */}}

{{- define "warren.secretsFolder" -}}/etc/warren/secrets{{- end -}}

{{- define "warren.broker.host" -}}
{{- $host := .Values.rabbitmq.host -}}
{{- if or (contains "." $host) (contains ":" $host) -}}{{ $host }}{{- else -}}{{ $host }}.{{ .Release.Namespace }}.svc{{- end -}}
{{- end -}}

{{- define "warren.broker.port" -}}
{{- .Values.rabbitmq.port | default (ternary 5671 5672 .Values.rabbitmq.tls.enabled) | int -}}
{{- end -}}

{{- define "warren.broker.byUrl" -}}
{{- if and .Values.rabbitmq.external.enabled .Values.rabbitmq.external.urlSecret.name -}}yes{{- end -}}
{{- end -}}

{{- define "warren.broker.managementUrl" -}}
{{- $rabbitmq := .Values.rabbitmq -}}
{{- if $rabbitmq.management.url -}}
{{- $rabbitmq.management.url -}}
{{- else if not (or (include "warren.broker.byUrl" .) $rabbitmq.bindingSecret) -}}
{{- printf "%s://%s:%d" (ternary "https" "http" $rabbitmq.tls.enabled) (include "warren.broker.host" .) (ternary 15671 15672 $rabbitmq.tls.enabled) -}}
{{- end -}}
{{- end -}}

{{/* dict root, role: the login of a role as {name, usernameKey, passwordKey}; nothing when the URL holds it. */}}
{{- define "warren.broker.login" -}}
{{- $rabbitmq := .root.Values.rabbitmq -}}
{{- if $rabbitmq.bindingSecret -}}
{{- toYaml (dict "name" $rabbitmq.bindingSecret "usernameKey" "username" "passwordKey" "password") -}}
{{- else if eq .role "topology" -}}
{{- if $rabbitmq.external.topologyJob.secret.name -}}
{{- toYaml $rabbitmq.external.topologyJob.secret -}}
{{- else if not (include "warren.broker.byUrl" .root) -}}
{{- toYaml $rabbitmq.secrets.server -}}
{{- end -}}
{{- else if not (include "warren.broker.byUrl" .root) -}}
{{- toYaml (get $rabbitmq.secrets .role) -}}
{{- end -}}
{{- end -}}

{{/* dict root, role, topology: environment of one that connects. */}}
{{- define "warren.broker.env" -}}
{{- $rabbitmq := .root.Values.rabbitmq -}}
{{- $folder := include "warren.secretsFolder" . -}}
{{- if include "warren.broker.byUrl" .root }}
- name: WARREN_AMQP_URL
  valueFrom:
    secretKeyRef:
      name: {{ $rabbitmq.external.urlSecret.name | quote }}
      key: {{ $rabbitmq.external.urlSecret.key | quote }}
{{- else }}
{{- if $rabbitmq.bindingSecret }}
- name: WARREN_AMQP_HOST
  valueFrom:
    secretKeyRef:
      name: {{ $rabbitmq.bindingSecret | quote }}
      key: host
- name: WARREN_AMQP_PORT
  valueFrom:
    secretKeyRef:
      name: {{ $rabbitmq.bindingSecret | quote }}
      key: port
{{- else }}
- name: WARREN_AMQP_HOST
  value: {{ include "warren.broker.host" .root | quote }}
- name: WARREN_AMQP_PORT
  value: {{ include "warren.broker.port" .root | quote }}
{{- end }}
- name: WARREN_AMQP_VHOST
  value: {{ $rabbitmq.vhost | quote }}
{{- end }}
{{- with include "warren.broker.login" . | fromYaml }}
- name: WARREN_AMQP_USERNAME_FILE
  value: {{ $folder }}/{{ .name }}/{{ .usernameKey }}
- name: WARREN_AMQP_PASSWORD_FILE
  value: {{ $folder }}/{{ .name }}/{{ .passwordKey }}
{{- end }}
- name: WARREN_AMQP_TOPOLOGY
  value: {{ .topology | default $rabbitmq.topology | quote }}
{{- if $rabbitmq.tls.enabled }}
- name: WARREN_AMQP_TLS
  value: "true"
- name: WARREN_AMQP_CA_FILE
  value: {{ $folder }}/{{ $rabbitmq.tls.caSecret.name }}/{{ $rabbitmq.tls.caSecret.key }}
{{- with $rabbitmq.tls.clientCertSecret }}
{{- if .name }}
- name: WARREN_AMQP_CERT_FILE
  value: {{ $folder }}/{{ .name }}/{{ .certKey }}
- name: WARREN_AMQP_KEY_FILE
  value: {{ $folder }}/{{ .name }}/{{ .keyKey }}
{{- end }}
{{- end }}
{{- end }}
{{- if or (ne .role "worker") (eq $rabbitmq.topology "apply") }}
{{- with include "warren.broker.managementUrl" .root }}
- name: WARREN_AMQP_MANAGEMENT_URL
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* dict root: environment of one that reads depths as the monitor. */}}
{{- define "warren.broker.monitorEnv" -}}
{{- $folder := include "warren.secretsFolder" . -}}
{{- with include "warren.broker.login" (dict "root" .root "role" "monitor") | fromYaml }}
- name: WARREN_AMQP_MANAGEMENT_USERNAME_FILE
  value: {{ $folder }}/{{ .name }}/{{ .usernameKey }}
- name: WARREN_AMQP_MANAGEMENT_PASSWORD_FILE
  value: {{ $folder }}/{{ .name }}/{{ .passwordKey }}
{{- end }}
{{- end -}}

{{/* dict root, roles: a YAML list of {secret, key} that these roles read. */}}
{{- define "warren.broker.files" -}}
{{- $files := list -}}
{{- $root := .root -}}
{{- range .roles -}}
{{- with include "warren.broker.login" (dict "root" $root "role" .) | fromYaml -}}
{{- $files = concat $files (list (dict "secret" .name "key" .usernameKey) (dict "secret" .name "key" .passwordKey)) -}}
{{- end -}}
{{- end -}}
{{- with $root.Values.rabbitmq.tls -}}
{{- if .enabled -}}
{{- $files = append $files (dict "secret" .caSecret.name "key" .caSecret.key) -}}
{{- with .clientCertSecret -}}
{{- if .name -}}
{{- $files = concat $files (list (dict "secret" .name "key" .certKey) (dict "secret" .name "key" .keyKey)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $files -}}
{{- end -}}

{{/*
list of {secret, key}: the volume with them. Optional: a pod whose secret is missing starts, is not ready and says in its
log which file, and so which secret and key, it waits for; it goes on when the secret comes.
*/}}
{{- define "warren.secretsVolume" -}}
{{- $keys := dict -}}
{{- range . -}}
{{- $_ := set $keys .secret (append (get $keys .secret | default list) .key | uniq) -}}
{{- end -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $secret, $wanted := $keys }}
      - secret:
          name: {{ $secret | quote }}
          optional: true
          items:
            {{- range $wanted }}
            - key: {{ . | quote }}
              path: {{ printf "%s/%s" $secret . | quote }}
            {{- end }}
      {{- end }}
{{- end -}}
