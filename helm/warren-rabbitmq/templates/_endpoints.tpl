{{/* Totals of a broker, and the depths of Warren's queues one by one. */}}
{{- define "warren-rabbitmq.endpoints" -}}
{{- $port := ternary "prometheus-tls" "prometheus" (ne .root.Values.tls.secretName "") -}}
- port: {{ $port }}
  {{- if .root.Values.tls.secretName }}
  scheme: https
  tlsConfig:
    serverName: {{ .root.Values.clusterName }}.{{ .root.Release.Namespace }}.svc
    ca:
      secret:
        name: {{ .root.Values.tls.secretName | quote }}
        key: ca.crt
  {{- end }}
  interval: {{ .interval | quote }}
  scrapeTimeout: {{ .timeout | default "10s" | quote }}
- port: {{ $port }}
  {{- if .root.Values.tls.secretName }}
  scheme: https
  tlsConfig:
    serverName: {{ .root.Values.clusterName }}.{{ .root.Release.Namespace }}.svc
    ca:
      secret:
        name: {{ .root.Values.tls.secretName | quote }}
        key: ca.crt
  {{- end }}
  path: /metrics/detailed
  params:
    family: [queue_coarse_metrics, queue_consumer_count]
    queue: ["^warren\\."]
  interval: {{ .interval | quote }}
  scrapeTimeout: {{ .timeout | default "10s" | quote }}
{{- end }}
