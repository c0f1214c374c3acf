{{/*
What the operator may do in the namespaces that it watches. The same rules go into a ClusterRole, or into a Role for
each of watchNamespaces. There is no wildcard, no right on Secrets, on pods/exec, on Roles or on CRDs.
*/}}
{{- define "penstock.rules" -}}
# What people write. Read only: the operator never writes a user's spec, labels or annotations, save where
# modelUpdates below lets it.
- apiGroups: [penstock.dev]
  resources: [modeldeployments, trafficsplits, driftpolicies]
  verbs: [list, watch]
# Everything that the operator decides is in status.
- apiGroups: [penstock.dev]
  resources: [modeldeployments/status, trafficsplits/status, driftpolicies/status]
  verbs: [update]
# A revision's serving pods, and the router fleet of a namespace.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
# What made a revision, so that upgrading the operator restarts no pod; and references of live rows, for drift.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
# The endpoint, and a headless Service for each revision, which the routers resolve.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
# Serving and router pods run under accounts of their own, which have no token and no rights. They go with their owner.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch]
# Node drains leave an endpoint with a pod.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# As many serving pods as their load needs (spec.autoscaling). Gone before the operator scales a revision itself.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
# Serving pods and routers are reached by those who need them only. The policies go with their owner.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch]
# Why a revision is not ready (its pods' termination messages), and which routers must acknowledge a weight.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# A training, and the Job whose exit is a metric, are made of the template of the CronJob that a policy names.
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get]
# The training, which is looked at while it runs. It goes with its policy.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, create]
# What the training is told. Made, and neither read nor changed ever after.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create]
# Promoted, RolledBack and the like, beside the object that they are about; a repetition counts up the one there is.
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.modelUpdates.enabled }}
# A model that a training has published becomes what the ModelDeployment asks for that spec.retrain.update names. Read
# first, for the managers of its fields: what a GitOps tool owns is left alone.
- apiGroups: [penstock.dev]
  resources: [modeldeployments]
  verbs: [get, patch]
{{- end }}
{{- if .Values.gateway.enabled }}
# The route of a split that Gateways lead (spec.gateway). Read one by one and never watched: the CRDs may be absent.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, create, patch, delete]
# Whether there is such a Gateway, and whether it is programmed.
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways]
  verbs: [get]
{{- if not .Values.watchNamespaces }}
# What its class can do, where that is published. Classes belong to no namespace.
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses]
  verbs: [get]
{{- end }}
{{- end }}
{{- end -}}
