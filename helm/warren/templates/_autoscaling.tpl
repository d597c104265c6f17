{{/* A set: what the scaler reads of its Deployment. */}}
{{- define "warren.scalerAnnotations" -}}
{{- $auto := .autoscaling -}}
warren.dev/autoscaling: scaler
warren.dev/queues: {{ join "," .queues | quote }}
warren.dev/min: {{ $auto.min | quote }}
warren.dev/max: {{ $auto.max | quote }}
warren.dev/concurrency: {{ .concurrency | quote }}
{{- with $auto.targetPerPod }}
warren.dev/target-per-worker: {{ . | quote }}
{{- end }}
warren.dev/latency-slo-seconds: {{ $auto.latencySLOSeconds | quote }}
warren.dev/stabilization-seconds: {{ $auto.scaler.stabilizationSeconds | quote }}
{{- if $auto.scaler.dryRun }}
warren.dev/dry-run: "true"
{{- end }}
{{- end -}}

{{/* What KEDA and a plain HPA have in common. */}}

{{/* autoscaling values of a set: an HPA's behavior. Up in few steps, down slowly and few at a time. */}}
{{- define "warren.behavior" -}}
scaleUp:
  stabilizationWindowSeconds: {{ .behavior.scaleUp.stabilizationWindowSeconds }}
  policies:
    {{- toYaml .behavior.scaleUp.policies | nindent 4 }}
  selectPolicy: Max
scaleDown:
  stabilizationWindowSeconds: {{ .behavior.scaleDown.stabilizationWindowSeconds }}
  policies:
    - type: Pods
      value: {{ .behavior.scaleDown.podsPerMinute | default (max 1 (ceil (divf .max 10))) | int }}
      periodSeconds: 60
  selectPolicy: Min
{{- end -}}

{{/* dict root, set, value: KEDA's triggers, one for each queue. */}}
{{- define "warren.triggers" -}}
{{- $root := .root -}}
{{- $auto := .set.autoscaling -}}
{{- $value := .value -}}
{{- range .set.queues }}
{{- $queue := splitList "=" . | first }}
- type: rabbitmq
  name: {{ $queue | quote }}
  # Waiting and running jobs by the average: with Value, pods that drain would count as capacity.
  metricType: AverageValue
  metadata:
    {{- if eq $auto.keda.protocol "http" }}
    host: {{ printf "%s/" (include "warren.broker.managementUrl" $root | trimSuffix "/") | quote }}
    {{- else }}
    host: {{ printf "%s://%s:%s/" (ternary "amqps" "amqp" $root.Values.rabbitmq.tls.enabled) (include "warren.broker.host" $root) (include "warren.broker.port" $root) | quote }}
    {{- end }}
    protocol: {{ $auto.keda.protocol | quote }}
    vhostName: {{ $root.Values.rabbitmq.vhost | quote }}
    queueName: warren.q.{{ $queue }}
    mode: QueueLength
    value: {{ $value | quote }}
  authenticationRef:
    name: {{ $auto.keda.authenticationRef | default (printf "%s-keda" (include "warren.fullname" $root)) | quote }}
{{- end }}
{{- end -}}
