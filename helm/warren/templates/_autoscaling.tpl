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
