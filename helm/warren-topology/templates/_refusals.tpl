{{/* What values.schema.json cannot say. Each message names the value's path and the rule. */}}
{{- define "warren-topology.refusals" -}}
{{- range $kind := list "Vhost" "Exchange" "Queue" "Binding" "Policy" "User" "Permission" }}
{{- if not ($.Capabilities.APIVersions.Has (printf "rabbitmq.com/v1beta1/%s" $kind)) }}
{{- fail (printf "the cluster has no %s resource of rabbitmq.com; install the operator first: kubectl apply -f https://github.com/rabbitmq/messaging-topology-operator/releases/latest/download/messaging-topology-operator-with-certmanager.yaml (with plain helm template, add --api-versions rabbitmq.com/v1beta1/%s)" $kind $kind) }}
{{- end }}
{{- end }}
{{- if and .Values.cluster.connectionSecret .Values.cluster.namespace }}
{{- fail (printf "cluster.connectionSecret is %s and cluster.namespace is %s: a connection secret is of the release's own namespace" .Values.cluster.connectionSecret .Values.cluster.namespace) }}
{{- end }}
{{- if and (not .Values.cluster.connectionSecret) (not .Values.cluster.name) }}
{{- fail "cluster.name and cluster.connectionSecret are both empty: name the RabbitmqCluster or give the secret of another broker" }}
{{- end }}
{{- $names := dict }}
{{- range $who, $user := .Values.users }}
{{- $name := printf "%s-%s" $.Values.namePrefix $who }}
{{- $found := lookup "rabbitmq.com/v1beta1" "User" $.Release.Namespace $name }}
{{- if and $found $user.create (ne (dig "spec" "importCredentialsSecret" "name" "" $found) $user.importCredentialsSecret) }}
{{- fail (printf "users.%s.importCredentialsSecret is %q and the user %s was made otherwise: the operator would leave the old login on the broker, with its rights; first kubectl -n %s delete permissions.rabbitmq.com/%s users.rabbitmq.com/%s" $who $user.importCredentialsSecret $name $.Release.Namespace $name $name) }}
{{- end }}
{{- end }}
{{- range $who, $user := .Values.users }}
{{- with $user.importCredentialsSecret }}
{{- if not $user.create }}
{{- fail (printf "users.%s.importCredentialsSecret is %s and users.%s.create is false: nobody would import it" $who . $who) }}
{{- end }}
{{- if hasKey $names . }}
{{- fail (printf "users.%s.importCredentialsSecret is %s, which is that of users.%s: two users cannot share a login" $who . (get $names .)) }}
{{- end }}
{{- $_ := set $names . $who }}
{{- end }}
{{- end }}
{{- range $secret := prepend (keys $names | sortAlpha) .Values.cluster.connectionSecret | compact }}
{{- $found := lookup "v1" "Secret" $.Release.Namespace $secret }}
{{- if $found }}
{{- if ne (dig "metadata" "labels" "rabbitmq.com/topology-operator" "" $found) "true" }}
{{- fail (printf "the secret %s lacks the label without which the operator may not read it: kubectl -n %s label secret %s rabbitmq.com/topology-operator=true" $secret $.Release.Namespace $secret) }}
{{- end }}
{{- if and (hasKey $names $secret) (eq (dig "data" "username" "" $found | b64dec) "guest") }}
{{- fail (printf "users.%s.importCredentialsSecret is %s, whose username is guest: RabbitMQ takes that login on loopback only" (get $names $secret) $secret) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
