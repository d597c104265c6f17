{{/* dict root, name, command, worker (whether it works with the broker): a pod of `helm test`. */}}
{{- define "warren.test" -}}
{{- $root := .root -}}
{{- $auth := $root.Values.server.auth -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ printf "%s-test-%s" (include "warren.fullname" $root) .name | quote }}
  labels:
    {{- include "warren.labels" (dict "root" $root "component" "test") | nindent 4 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  {{- include "warren.pod.head" (dict "root" $root) | nindent 2 }}
  restartPolicy: Never
  activeDeadlineSeconds: {{ $root.Values.tests.activeDeadlineSeconds }}
  containers:
    - name: test
      image: {{ include "warren.image" (dict "root" $root "image" $root.Values.workerDefaults.image) | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command:
        {{- toYaml .command | nindent 8 }}
      securityContext:
        {{- toYaml $root.Values.securityContext | nindent 8 }}
      env:
        - name: WARREN_URL
          value: {{ printf "http://%s.%s.svc:%d" (include "warren.server.name" $root) $root.Release.Namespace (int $root.Values.server.service.port) | quote }}
        {{- if eq $auth.mode "tokens" }}
        - name: WARREN_TOKEN
          valueFrom:
            secretKeyRef:
              name: {{ include "warren.authSecret" $root | quote }}
              key: {{ $auth.existingSecret.key | quote }}
        {{- with $auth.existingSecret.readKey }}
        - name: READ_TOKEN
          valueFrom:
            secretKeyRef:
              name: {{ include "warren.authSecret" $root | quote }}
              key: {{ . | quote }}
        {{- end }}
        {{- end }}
        {{- if .worker }}
        - name: PYTHONPATH
          value: /tasks
        - name: WARREN_TASKS
          value: warren_helm_test
        - name: WARREN_WORKER_QUEUES
          value: {{ include "warren.checkQueue" $root | quote }}
        - name: WARREN_WORKER_CONCURRENCY
          value: "2"
        - name: WARREN_DRAIN_SECONDS
          value: "30"
        - name: WARREN_PROBE_BIND
          value: 127.0.0.1:9100
        {{- include "warren.broker.env" (dict "root" $root "role" "worker") | trim | nindent 8 }}
        {{- include "warren.logEnv" $root | nindent 8 }}
        {{- end }}
      resources:
        requests:
          cpu: 50m
          memory: 64Mi
        limits:
          memory: 256Mi
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        - name: tests
          mountPath: /tests
          readOnly: true
        {{- if .worker }}
        - name: secrets
          mountPath: {{ include "warren.secretsFolder" $root }}
          readOnly: true
        - name: tasks
          mountPath: /tasks
          readOnly: true
        {{- end }}
  volumes:
    {{- include "warren.tmp" $root.Values.workerDefaults.tmp | nindent 4 }}
    - name: tests
      configMap:
        name: {{ printf "%s-tests" (include "warren.fullname" $root) | quote }}
    {{- if .worker }}
    {{- include "warren.secretsVolume" (include "warren.broker.files" (dict "root" $root "roles" (list "worker")) | fromYamlArray) | nindent 4 }}
    {{- include "warren.tasks.volume" $root | nindent 4 }}
    {{- end }}
{{- end -}}
