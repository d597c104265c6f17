{{/* dict root, name, set, once: the pod template of a worker set. */}}
{{- define "warren.worker.template" -}}
{{- $root := .root -}}
{{- $name := .name -}}
{{- $set := .set -}}
{{- $once := .once -}}
{{- $folder := include "warren.secretsFolder" $root -}}
{{- $selector := include "warren.selector" (dict "root" $root "component" "worker" "set" $name) -}}
{{- $image := include "warren.image" (dict "root" $root "image" $set.image) -}}
metadata:
  labels:
    {{- include "warren.podLabels" (dict "root" $root "component" "worker" "set" $name) | nindent 4 }}
    {{- with $set.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: worker
    cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes: tmp
    {{- with $set.safeToEvict }}
    cluster-autoscaler.kubernetes.io/safe-to-evict: {{ . | quote }}
    {{- end }}
    {{- with $set.doNotDisrupt }}
    karpenter.sh/do-not-disrupt: {{ . | quote }}
    {{- end }}
    {{- with include "warren.tasks.checksum" $root }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $set.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "warren.serviceAccount" (dict "account" $set.serviceAccount "name" (include "warren.worker.name" (dict "root" $root "name" $name))) | quote }}
  {{- include "warren.pod.head" (dict "root" $root) | nindent 2 }}
  {{- if $once }}
  # The broker hands the job of a pod that failed to the next one.
  restartPolicy: Never
  {{- end }}
  {{- with include "warren.pod.placement" (dict "values" $set "selector" $selector) | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ $set.terminationGracePeriodSeconds }}
  {{- with $set.extraInitContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: worker
      image: {{ $image | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      {{- if $once }}
      args: [--once]
      {{- end }}
      securityContext:
        {{- toYaml $root.Values.securityContext | nindent 8 }}
      ports:
        - name: probes
          containerPort: 9100
      env:
        - name: WARREN_WORKER_QUEUES
          value: {{ join "," $set.queues | quote }}
        - name: WARREN_WORKER_CONCURRENCY
          value: {{ $set.concurrency | quote }}
        {{- if $set.prefetch }}
        - name: WARREN_WORKER_PREFETCH
          value: {{ $set.prefetch | quote }}
        {{- end }}
        - name: WARREN_WORKER_IMAGE
          value: {{ $image | quote }}
        - name: WARREN_TASKS
          value: {{ include "warren.modules" (dict "root" $root "modules" $set.modules) | quote }}
        - name: WARREN_DRAIN_SECONDS
          value: {{ $set.drainSeconds | quote }}
        - name: WARREN_PROBE_BIND
          value: 0.0.0.0:9100
        {{- include "warren.broker.env" (dict "root" $root "role" "worker") | trim | nindent 8 }}
        {{- include "warren.logEnv" $root | nindent 8 }}
        {{- with $set.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $set.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $set.preStopSeconds }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ . }}
      {{- end }}
      {{- include "warren.probes" (dict "probes" $set.probes "port" "probes" "startup" "/healthz") | trim | nindent 6 }}
      resources:
        {{- toYaml $set.resources | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        - name: secrets
          mountPath: {{ $folder }}
          readOnly: true
        {{- if include "warren.tasks.mounted" $root }}
        - name: tasks
          mountPath: /tasks
          readOnly: true
        {{- end }}
        {{- with $set.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with $set.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "warren.tmp" $set.tmp | nindent 4 }}
    {{- include "warren.secretsVolume" (include "warren.broker.files" (dict "root" $root "roles" (list "worker")) | fromYamlArray) | nindent 4 }}
    {{- with include "warren.tasks.volume" $root }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $set.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
