{{/* Parts of network policies. */}}

{{- define "warren.network.dns" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchLabels:
          k8s-app: kube-dns
  ports:
    - protocol: UDP
      port: 53
    - protocol: TCP
      port: 53
{{- end -}}

{{/* dict root, management: egress to the broker, with its management API or without. */}}
{{- define "warren.network.broker" -}}
{{- $rabbitmq := .root.Values.rabbitmq -}}
{{- $peers := .root.Values.networkPolicy.brokerTo -}}
{{- if not (or $peers $rabbitmq.external.enabled $rabbitmq.bindingSecret) -}}
{{- $peers = list (dict "podSelector" (dict "matchLabels" (dict "app.kubernetes.io/name" (splitList "." $rabbitmq.host | first)))) -}}
{{- if contains "." $rabbitmq.host -}}
{{- $_ := set (first $peers) "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" (index (splitList "." $rabbitmq.host) 1))) -}}
{{- end -}}
{{- end -}}
- {{ with $peers -}}
  to:
    {{- toYaml . | nindent 4 }}
  {{ end -}}
  ports:
    {{- $ports := list -}}
    {{- if $rabbitmq.port -}}
    {{- $ports = list (int $rabbitmq.port) -}}
    {{- else if or (include "warren.broker.byUrl" .root) $rabbitmq.bindingSecret -}}
    {{- $ports = list 5672 5671 -}}
    {{- else -}}
    {{- $ports = list (include "warren.broker.port" .root | int) -}}
    {{- end -}}
    {{- if .management -}}
    {{- with include "warren.broker.managementUrl" .root -}}
    {{- $url := urlParse . -}}
    {{- $ports = append $ports (regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) | int) -}}
    {{- else -}}
    {{- $ports = concat $ports (list 15672 15671) -}}
    {{- end -}}
    {{- end -}}
    {{- range $ports | uniq }}
    - protocol: TCP
      port: {{ . }}
    {{- end }}
{{- end -}}

{{/* root: who may scrape. */}}
{{- define "warren.network.prometheus" -}}
{{- with .Values.networkPolicy.prometheusNamespace -}}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ . | quote }}
{{- else -}}
namespaceSelector: {}
{{- end -}}
{{- end -}}
