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
