package function

import (
	"maps"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

// labelName is the one label that is added to what was submitted: the gateway
// finds a function by it.
const labelName = "faas_function"

// annotationProblem is added while replicas are missing: people see annotations in
// what faas-cli describes.
const annotationProblem = "com.openfaas.gpu.problem"

// Status shows f to clients, with what was submitted word for word.
func Status(f *runtime.Function, invocations float64) types.FunctionStatus {
	d := f.Deployment.Request
	labels := map[string]string{}
	if d.Labels != nil {
		maps.Copy(labels, *d.Labels)
	}
	labels[labelName] = f.Deployment.ID.Name
	annotations := map[string]string{}
	if d.Annotations != nil {
		maps.Copy(annotations, *d.Annotations)
	}
	if f.Problem != "" {
		annotations[annotationProblem] = f.Problem
	}
	return types.FunctionStatus{
		Name:                   f.Deployment.ID.Name,
		Image:                  d.Image,
		Namespace:              f.Deployment.ID.Namespace,
		EnvProcess:             d.EnvProcess,
		EnvVars:                d.EnvVars,
		Constraints:            d.Constraints,
		Secrets:                d.Secrets,
		Labels:                 &labels,
		Annotations:            &annotations,
		Limits:                 d.Limits,
		Requests:               d.Requests,
		ReadOnlyRootFilesystem: d.ReadOnlyRootFilesystem,
		InvocationCount:        invocations,
		Replicas:               uint64(max(0, f.Desired)),
		AvailableReplicas:      uint64(ReadyReplicas(f)),
		CreatedAt:              f.CreatedAt,
	}
}

// ReadyReplicas counts the replicas of f that would serve a request now.
func ReadyReplicas(f *runtime.Function) (n int) {
	for i := range f.Replicas {
		if f.Replicas[i].Ready {
			n++
		}
	}
	return n
}

// Usage adds up what the replicas of f use; nil if none of them can tell.
func Usage(f *runtime.Function) *types.FunctionUsage {
	var sum *types.FunctionUsage
	for _, r := range f.Replicas {
		if r.Usage == nil {
			continue
		}
		if sum == nil {
			sum = &types.FunctionUsage{}
		}
		u := r.Usage()
		sum.CPU += u.MilliCPU
		sum.TotalMemoryBytes += float64(u.MemoryBytes)
	}
	return sum
}
