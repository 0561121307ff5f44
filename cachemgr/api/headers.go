package api

// Headers of a response to an inference.
const (
	// HeaderCache says where the model was when the request came: one of the
	// Cache values below.
	HeaderCache = "X-Faas-Gpu-Cache"
	// HeaderDevice names the device that computed.
	HeaderDevice = "X-Faas-Gpu-Device"
	// HeaderEngine names the engine that computed.
	HeaderEngine = "X-Faas-Gpu-Engine"
	// HeaderTiming carries the parts of the latency, in milliseconds:
	// `queue;dur=0.010, swap;dur=0.000, compute;dur=0.731`.
	HeaderTiming = "Server-Timing"
	// HeaderEpoch names this run of the cache manager, on every response of it;
	// a client that sees another one offers its models again.
	HeaderEpoch = "X-Faas-Gpu-Epoch"
)

// Headers of a request.
const (
	// HeaderSLO is the caller's latency objective, a Go duration ("80ms").
	HeaderSLO = "X-Faas-Gpu-Slo"
	// HeaderFallback is what happens while no GPU can answer: a Fallback value.
	HeaderFallback = "X-Faas-Gpu-Fallback"
	// HeaderDeviceHint is the same name as HeaderDevice: the provider's hint, in
	// a request; it is stripped from requests that come from outside.
	HeaderDeviceHint = HeaderDevice
	HeaderCallID     = "X-Call-Id"
	// HeaderDeadline is the time left for this request when it was sent on, a Go
	// duration; it travels from hop to hop inside the installation.
	HeaderDeadline = "X-Faas-Gpu-Deadline"
)

// Cache outcomes, from best to worst.
const (
	CacheHit      = "hit"      // it was resident
	CacheSwap     = "swap"     // it came from the host pool
	CacheLoad     = "load"     // it came from disk
	CacheFallback = "fallback" // another engine answered, named in HeaderEngine
)

// Routes that are not in the Open Inference Protocol.
const (
	RouteStatus     = "/v2/faas-gpu/status"
	RoutePrefetch   = "/v2/faas-gpu/prefetch"
	RouteReferences = "/v2/faas-gpu/references"
	RouteModels     = "/v2/faas-gpu/models"
	RouteProof      = "/v2/faas-gpu/proof"
	RouteBlobs      = "/v2/faas-gpu/blobs/"
	RouteCache      = "/v2/faas-gpu/cache"
)

// File names in the folder of the sockets, /run/faas-gpu by default.
const (
	SocketOIP = "oip.sock"
	SocketShm = "shm.sock"
)
