{{- define "bgt.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 45 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 45 | trimSuffix "-" }}{{ end }}-operator
{{- end }}

{{- define "bgt.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "bgt.name" .) }}
{{- end }}

{{- define "bgt.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{/* Exactly two, and never extended: a selector cannot be changed later. */}}
{{- define "bgt.selector" -}}
app.kubernetes.io/name: background-tasks-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bgt.labels" -}}
{{ include "bgt.selector" . }}
app.kubernetes.io/part-of: background-tasks
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What the operator may do where it serves. It hands parts of it on to the workers' Roles, so it has to hold those
itself. Each verb is needed: a test compares them with what an API server was asked for. */}}
{{- define "bgt.rules" -}}
- apiGroups: [background-tasks.dev]
  resources: [backgroundtasks]
  verbs: [get, list, watch]
- apiGroups: [background-tasks.dev]
  resources: [workerpools]
  verbs: [get, list, watch, create]
- apiGroups: [background-tasks.dev]
  resources: [backgroundtasks/status, workerpools/status]
  verbs: [patch]
- apiGroups: [background-tasks.dev]
  resources: [workerpools/finalizers]  # owner references that block the owner's deletion
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch, create, patch]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [list, watch, create, patch]
- apiGroups: [""]
  resources: [configmaps]  # handed on: the slot table
  verbs: [get, update]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, watch, create, patch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [coordination.k8s.io]
  resources: [leases]  # handed on: the members' leases
  verbs: [list, watch, create, update, delete]
{{- end }}
