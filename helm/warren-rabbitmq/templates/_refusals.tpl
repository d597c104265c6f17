{{/* What values.schema.json cannot say. Each message names the value's path and the rule. */}}
{{- define "warren-rabbitmq.refusals" -}}
{{- if not (.Capabilities.APIVersions.Has "rabbitmq.com/v1beta1/RabbitmqCluster") }}
{{- fail "the cluster has no RabbitmqCluster resource; install the operator first: kubectl apply -f https://github.com/rabbitmq/cluster-operator/releases/latest/download/cluster-operator.yml (with plain helm template, add --api-versions rabbitmq.com/v1beta1/RabbitmqCluster)" }}
{{- end }}
{{- if and (not .Values.image.tag) (not .Values.image.digest) }}
{{- fail "image.tag and image.digest are both empty: give one, so that all brokers run the same version" }}
{{- end }}
{{- if ne (toString .Values.resources.requests.memory) (toString .Values.resources.limits.memory) }}
{{- fail (printf "resources.requests.memory is %v and resources.limits.memory is %v: they must be the same, the broker counts on all of its limit" .Values.resources.requests.memory .Values.resources.limits.memory) }}
{{- end }}
{{- $memory := include "warren-rabbitmq.mebibytes" .Values.resources.limits.memory | int }}
{{- if lt $memory 384 }}
{{- fail (printf "resources.limits.memory is %v: a broker needs 384Mi or more, else its memory alarm, at 48 %% of that, rings at start and it takes no job" .Values.resources.limits.memory) }}
{{- end }}
{{- if and .Values.tls.caSecretName (not .Values.tls.secretName) }}
{{- fail "tls.caSecretName is set without tls.secretName: client certificates need a broker that speaks TLS" }}
{{- end }}
{{- if and .Values.tls.disableNonTLS (not .Values.tls.secretName) }}
{{- fail "tls.disableNonTLS is true without tls.secretName: the broker would listen on nothing" }}
{{- end }}
{{- if and .Values.monitoring.serviceMonitor.enabled .Values.monitoring.podMonitor.enabled }}
{{- fail "monitoring.serviceMonitor.enabled and monitoring.podMonitor.enabled are both true: each broker would be counted twice, choose one" }}
{{- end }}
{{- range $name, $kind := dict "serviceMonitor" "ServiceMonitor" "podMonitor" "PodMonitor" "prometheusRule" "PrometheusRule" }}
{{- if and (index $.Values.monitoring $name "enabled") (not ($.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" $kind))) }}
{{- fail (printf "monitoring.%s.enabled is true and the cluster has no %s resource; install the Prometheus operator first: helm install kube-prometheus-stack oci://ghcr.io/prometheus-community/charts/kube-prometheus-stack" $name $kind) }}
{{- end }}
{{- end }}
{{- range $line := splitList "\n" .Values.config.additionalConfig }}
{{- range $key := list "default_user" "default_pass" "collect_statistics_interval" "disk_free_limit.absolute" }}
{{- if regexMatch (printf "^\\s*%s\\s*=" (replace "." "\\." $key)) $line }}
{{- fail (printf "config.additionalConfig sets %s: %s" $key (ternary "the operator makes the first login, and the topology operator uses it" "there is a value for it under config" (hasPrefix "default_" $key))) }}
{{- end }}
{{- end }}
{{- end }}
{{- $found := lookup "rabbitmq.com/v1beta1" "RabbitmqCluster" .Release.Namespace .Values.clusterName }}
{{- if $found }}
{{- if gt (int (dig "spec" "replicas" 1 $found)) (int .Values.replicas) }}
{{- fail (printf "replicas is %d and %s has %d brokers: RabbitMQ cannot shrink; make a new cluster and move the messages" (int .Values.replicas) .Values.clusterName (int (dig "spec" "replicas" 1 $found))) }}
{{- end }}
{{- end }}
{{- end }}
