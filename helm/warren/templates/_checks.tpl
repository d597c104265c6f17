{{/* Values that would make a broken release are refused here, each by its path, its value and the rule. */}}

{{- define "warren.checks" -}}
{{- include "warren.checks.images" . -}}
{{- include "warren.checks.broker" . -}}
{{- include "warren.checks.store" . -}}
{{- include "warren.checks.server" . -}}
{{- include "warren.checks.workers" . -}}
{{- include "warren.checks.scaler" . -}}
{{- include "warren.checks.environment" . -}}
{{- include "warren.checks.kinds" . -}}
{{- end -}}

{{- define "warren.checks.images" -}}
{{- range $path, $image := dict "server.image" .Values.server.image "workerDefaults.image" .Values.workerDefaults.image "scaler.image" .Values.scaler.image -}}
{{- if not (or $image.digest $image.tag $.Values.image.tag) -}}
{{- fail (printf "%s.tag and %s.digest are empty, and image.tag too: an image needs one of them" $path $path) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "warren.checks.broker" -}}
{{- $rabbitmq := .Values.rabbitmq -}}
{{- if and $rabbitmq.bindingSecret $rabbitmq.external.urlSecret.name -}}
{{- fail "rabbitmq.bindingSecret and rabbitmq.external.urlSecret.name are both set: the broker is described once, by one of them" -}}
{{- end -}}
{{- if and $rabbitmq.external.urlSecret.name (not $rabbitmq.external.enabled) -}}
{{- fail "rabbitmq.external.urlSecret.name is set and rabbitmq.external.enabled is false: set it to true, or leave the URL out" -}}
{{- end -}}
{{- if not (or $rabbitmq.bindingSecret (include "warren.broker.byUrl" .)) -}}
{{- if not $rabbitmq.host -}}
{{- fail "rabbitmq.host is empty: name the broker's Service, or a host" -}}
{{- end -}}
{{- range $role, $secret := $rabbitmq.secrets -}}
{{- if not $secret.name -}}
{{- fail (printf "rabbitmq.secrets.%s.name is empty: name the secret with this login; the chart warren-topology makes warren-%s-user-credentials" $role $role) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $path, $name := dict "rabbitmq.secrets.server.name" $rabbitmq.secrets.server.name "rabbitmq.secrets.worker.name" $rabbitmq.secrets.worker.name "rabbitmq.secrets.monitor.name" $rabbitmq.secrets.monitor.name "rabbitmq.secrets.scaler.name" $rabbitmq.secrets.scaler.name "rabbitmq.external.topologyJob.secret.name" $rabbitmq.external.topologyJob.secret.name -}}
{{- if eq $name "guest" -}}
{{- fail (printf "%s is guest: it is the name of a secret, and RabbitMQ takes the login guest on loopback only" $path) -}}
{{- end -}}
{{- end -}}
{{- if contains "@" $rabbitmq.management.url -}}
{{- fail (printf "rabbitmq.management.url is %s: a login has no place in a value; its secret is rabbitmq.secrets.monitor" (regexReplaceAll "//.*@" $rabbitmq.management.url "//…@")) -}}
{{- end -}}
{{- if and $rabbitmq.tls.enabled (not $rabbitmq.tls.caSecret.name) -}}
{{- fail "rabbitmq.tls.enabled is true and rabbitmq.tls.caSecret.name is empty: name the secret with the CA that signed the broker's certificate" -}}
{{- end -}}
{{- if and $rabbitmq.tls.clientCertSecret.name (not $rabbitmq.tls.enabled) -}}
{{- fail "rabbitmq.tls.clientCertSecret.name is set and rabbitmq.tls.enabled is false: a client certificate is shown over TLS only" -}}
{{- end -}}
{{- end -}}

{{- define "warren.checks.store" -}}
{{- $store := .Values.store -}}
{{- if eq $store.mode "sqlite" -}}
{{- if gt (int .Values.server.replicas) 1 -}}
{{- fail (printf "server.replicas is %d and store.mode is sqlite: one SQLite file serves one server; set store.mode to postgresql" (int .Values.server.replicas)) -}}
{{- end -}}
{{- if .Values.server.hpa.enabled -}}
{{- fail "server.hpa.enabled is true and store.mode is sqlite: one SQLite file serves one server; set store.mode to postgresql" -}}
{{- end -}}
{{- if or $store.postgresql.host $store.postgresql.existingSecret.name -}}
{{- fail "store.postgresql is filled in and store.mode is sqlite: set store.mode to postgresql, or leave it empty" -}}
{{- end -}}
{{- else -}}
{{- if not $store.postgresql.existingSecret.name -}}
{{- fail "store.postgresql.existingSecret.name is empty and store.mode is postgresql: name the secret with the database's password or URL" -}}
{{- end -}}
{{- if not (or $store.postgresql.host $store.postgresql.existingSecret.urlKey) -}}
{{- fail "store.postgresql.host is empty and store.mode is postgresql: name the host, or store.postgresql.existingSecret.urlKey if the secret holds the whole URL" -}}
{{- end -}}
{{- if and (hasPrefix "verify" $store.postgresql.sslMode) (not (or $store.postgresql.caSecret.name $store.postgresql.existingSecret.urlKey)) -}}
{{- fail (printf "store.postgresql.sslMode is %s and store.postgresql.caSecret.name is empty: name the secret with the CA that signed the database's certificate" $store.postgresql.sslMode) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "warren.checks.server" -}}
{{- $server := .Values.server -}}
{{- if not (regexMatch "^[a-z]" (include "warren.fullname" .)) -}}
{{- fail (printf "the release makes the name %s: a Service's begins with a letter; set fullnameOverride, or name the release so" (include "warren.fullname" .)) -}}
{{- end -}}
{{- $needed := addf $server.preStopSeconds $server.drainSeconds 10 | ceil | int -}}
{{- if lt (int $server.terminationGracePeriodSeconds) $needed -}}
{{- fail (printf "server.terminationGracePeriodSeconds is %d: must be at least preStopSeconds + drainSeconds + 10, here %d" (int $server.terminationGracePeriodSeconds) $needed) -}}
{{- end -}}
{{- if $server.hpa.enabled -}}
{{- if lt (int $server.hpa.max) (int $server.hpa.min) -}}
{{- fail (printf "server.hpa.max is %d: must be at least server.hpa.min, here %d" (int $server.hpa.max) (int $server.hpa.min)) -}}
{{- end -}}
{{- if not (dig "requests" "cpu" "" $server.resources) -}}
{{- fail "server.resources.requests.cpu is empty and server.hpa.enabled is true: a share of the processor is a share of the request" -}}
{{- end -}}
{{- end -}}
{{- if and $server.ingress.enabled (not $server.ingress.hosts) -}}
{{- fail "server.ingress.hosts is empty and server.ingress.enabled is true: name one host or more" -}}
{{- end -}}
{{- if and $server.httpRoute.enabled (not $server.httpRoute.parentRefs) -}}
{{- fail "server.httpRoute.parentRefs is empty and server.httpRoute.enabled is true: name a Gateway" -}}
{{- end -}}
{{- if and .Values.monitoring.serviceMonitor.enabled (eq $server.auth.mode "tokens") (not $server.auth.existingSecret.readKey) -}}
{{- fail "server.auth.existingSecret.readKey is empty and monitoring.serviceMonitor.enabled is true: Prometheus needs a token that may read; name its key" -}}
{{- end -}}
{{- end -}}

{{- define "warren.checks.workers" -}}
{{- range $name, $set := include "warren.sets" . | fromYaml -}}
{{- $path := printf "workerSets.%s" $name -}}
{{- $auto := $set.autoscaling -}}
{{- if not $set.queues -}}
{{- fail (printf "%s.queues is empty: name the queues this set works on" $path) -}}
{{- end -}}
{{- $needed := addf $set.preStopSeconds $set.drainSeconds 10 | ceil | int -}}
{{- if lt (int $set.terminationGracePeriodSeconds) $needed -}}
{{- fail (printf "%s.terminationGracePeriodSeconds is %d: must be at least preStopSeconds + drainSeconds + 10, here %d" $path (int $set.terminationGracePeriodSeconds) $needed) -}}
{{- end -}}
{{- if and $set.prefetch (lt (int $set.prefetch) (int $set.concurrency)) -}}
{{- fail (printf "%s.prefetch is %d: must be at least concurrency, here %d, or 0" $path (int $set.prefetch) (int $set.concurrency)) -}}
{{- end -}}
{{- if gt (len (include "warren.worker.name" (dict "root" $ "name" $name))) 63 -}}
{{- fail (printf "%s makes the name %s: a ScaledObject and a Deployment have 63 characters at most; choose a shorter set or release" $path (include "warren.worker.name" (dict "root" $ "name" $name))) -}}
{{- end -}}
{{- if eq $auto.mode "none" -}}
{{- with get $.Values.workerSets $name -}}
{{- if or (dig "autoscaling" "keda" dict .) (dig "autoscaling" "hpa" dict .) (dig "autoscaling" "scaler" dict .) -}}
{{- fail (printf "%s.autoscaling.mode is none and keda, hpa or scaler is filled in: set the mode, or leave them out" $path) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- if lt (int $auto.max) (int $auto.min) -}}
{{- fail (printf "%s.autoscaling.max is %d: must be at least min, here %d" $path (int $auto.max) (int $auto.min)) -}}
{{- end -}}
{{- if hasKey (get $.Values.workerSets $name) "replicas" -}}
{{- fail (printf "%s.replicas is %d and autoscaling.mode is %s: the autoscaler sets the number; use autoscaling.min and max" $path (int $set.replicas) $auto.mode) -}}
{{- end -}}
{{- end -}}
{{- with get $.Values.workerSets $name -}}
{{- range $wrong := without (list "keda" "hpa" "scaler") (trimSuffix "Job" $auto.mode) -}}
{{- if and (ne $auto.mode "none") (dig "autoscaling" $wrong dict (get $.Values.workerSets $name)) -}}
{{- fail (printf "%s.autoscaling.mode is %s and %s.autoscaling.%s is filled in: a set has one autoscaler" $path $auto.mode $path $wrong) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if has $auto.mode (list "keda" "kedaJob") -}}
{{- if and (eq $auto.mode "kedaJob") (eq $auto.keda.protocol "amqp") -}}
{{- fail (printf "%s.autoscaling.keda.protocol is amqp and mode is kedaJob: running jobs must be counted, or no more pods are started beside them; use http" $path) -}}
{{- end -}}
{{- if and (eq $auto.keda.protocol "amqp") (not $auto.keda.acceptInFlightBlindness) -}}
{{- fail (printf "%s.autoscaling.keda.protocol is amqp: it cannot see running jobs and may scale busy workers to none; use http, or set acceptInFlightBlindness to true" $path) -}}
{{- end -}}
{{- if and (include "warren.broker.byUrl" $) (not $auto.keda.authenticationRef) -}}
{{- fail (printf "%s.autoscaling.keda.authenticationRef is empty and the broker is given by URL: KEDA needs a login; name a TriggerAuthentication with username and password" $path) -}}
{{- end -}}
{{- if and (eq $auto.keda.protocol "http") (not (include "warren.broker.managementUrl" $)) -}}
{{- fail (printf "rabbitmq.management.url is empty and %s.autoscaling.keda.protocol is http: tell where the management API is" $path) -}}
{{- end -}}
{{- end -}}
{{- if eq $auto.mode "scaler" -}}
{{- if not (include "warren.broker.managementUrl" $) -}}
{{- fail (printf "rabbitmq.management.url is empty and %s.autoscaling.mode is scaler: tell where the management API is" $path) -}}
{{- end -}}
{{- end -}}
{{- if eq $auto.mode "hpa" -}}
{{- if not $auto.hpa.metric.name -}}
{{- fail (printf "%s.autoscaling.hpa.metric.name is empty: name the metric your adapter serves" $path) -}}
{{- end -}}
{{- if lt (int $auto.min) 1 -}}
{{- fail (printf "%s.autoscaling.min is %d: a HorizontalPodAutoscaler needs 1 or more; keda can scale to none" $path (int $auto.min)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "warren.checks.scaler" -}}
{{- with .Values.scaler -}}
{{- if and .guardBusyPods (not .patchPods) -}}
{{- fail "scaler.guardBusyPods is true and scaler.patchPods is false: marks are annotations of pods; set patchPods to true" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Literal logins in extraEnv: a password has no place in a value, and guest none anywhere. */}}
{{- define "warren.checks.environment" -}}
{{- $lists := dict "server" .Values.server.extraEnv "scaler" .Values.scaler.extraEnv "workerDefaults" .Values.workerDefaults.extraEnv -}}
{{- range $name, $set := .Values.workerSets -}}
{{- if $set -}}
{{- $_ := set $lists (printf "workerSets.%s" $name) ($set.extraEnv | default list) -}}
{{- end -}}
{{- end -}}
{{- range $path, $variables := $lists -}}
{{- range $variables -}}
{{- if and .value (or (and (eq .name "WARREN_AMQP_USERNAME") (eq .value "guest")) (and (hasPrefix "WARREN_AMQP_" .name) (contains "//guest:" .value))) -}}
{{- fail (printf "%s.extraEnv sets %s to guest: RabbitMQ takes the login guest on loopback only; use rabbitmq.secrets" $path .name) -}}
{{- end -}}
{{- if and .value (has .name (list "WARREN_AMQP_PASSWORD" "WARREN_AMQP_URL" "WARREN_AMQP_MANAGEMENT_URL" "WARREN_STORE_URL" "WARREN_TOKEN")) (or (has .name (list "WARREN_AMQP_PASSWORD" "WARREN_TOKEN")) (contains "@" .value)) -}}
{{- fail (printf "%s.extraEnv sets %s by value: a secret has no place in a value; refer to it by valueFrom.secretKeyRef" $path .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Kinds that only an operator brings; asked for when they are used. */}}
{{- define "warren.checks.kinds" -}}
{{- $wanted := list -}}
{{- range $name, $set := include "warren.sets" . | fromYaml -}}
{{- if eq $set.autoscaling.mode "kedaJob" -}}
{{- $wanted = append $wanted (dict "path" (printf "workerSets.%s.autoscaling.mode is kedaJob" $name) "kind" "keda.sh/v1alpha1/ScaledJob" "install" "helm install keda keda --repo https://kedacore.github.io/charts --namespace keda --create-namespace") -}}
{{- end -}}
{{- if eq $set.autoscaling.mode "keda" -}}
{{- $wanted = append $wanted (dict "path" (printf "workerSets.%s.autoscaling.mode is keda" $name) "kind" "keda.sh/v1alpha1/ScaledObject" "install" "helm install keda keda --repo https://kedacore.github.io/charts --namespace keda --create-namespace") -}}
{{- end -}}
{{- end -}}
{{- $prometheus := "helm install monitoring kube-prometheus-stack --repo https://prometheus-community.github.io/helm-charts --namespace monitoring --create-namespace" -}}
{{- range $value, $kind := dict "serviceMonitor" "ServiceMonitor" "podMonitor" "PodMonitor" "prometheusRule" "PrometheusRule" -}}
{{- if (get $.Values.monitoring $value).enabled -}}
{{- $wanted = append $wanted (dict "path" (printf "monitoring.%s.enabled is true" $value) "kind" (printf "monitoring.coreos.com/v1/%s" $kind) "install" $prometheus) -}}
{{- end -}}
{{- end -}}
{{- if .Values.server.httpRoute.enabled -}}
{{- $wanted = append $wanted (dict "path" "server.httpRoute.enabled is true" "kind" "gateway.networking.k8s.io/v1/HTTPRoute" "install" "kubectl apply -f https://github.com/kubernetes-sigs/gateway-api/releases/latest/download/standard-install.yaml") -}}
{{- end -}}
{{- range $wanted -}}
{{- if not ($.Capabilities.APIVersions.Has .kind) -}}
{{- fail (printf "%s and the cluster has no %s; install it with `%s` (rendering without a cluster: --api-versions %s)" .path .kind .install .kind) -}}
{{- end -}}
{{- end -}}
{{- end -}}
