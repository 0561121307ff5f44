// Package api is all that the provider, the watchdog and any other client know
// of a cache manager: the wire types, the headers and a client.
//
// A cache manager speaks the Open Inference Protocol (package oip) and, below
// /v2/faas-gpu/, the routes of this package:
//
//	GET  /v2/faas-gpu/status                 NodeStatus: a snapshot, then deltas   (provider)
//	POST /v2/faas-gpu/prefetch               PrefetchRequest                       (provider)
//	PUT  /v2/faas-gpu/references             References: which functions exist     (provider)
//	POST /v2/faas-gpu/models                 OfferRequest -> OfferResponse         (function)
//	POST /v2/faas-gpu/proof                  Proof -> Offered                      (function)
//	PUT  /v2/faas-gpu/blobs/{digest}         the bytes of one model file           (function)
//	GET  /v2/faas-gpu/cache                  CacheStatus: the caller's own models  (function)
//
// Who calls is said by a token (package token) in `Authorization: Bearer`. A
// function sees and touches its own models only; model names are its own too,
// and two functions may each have a model "digits". The bytes of equal digests
// are stored and loaded once.
//
// Errors have the body of the Open Inference Protocol: {"error": "..."}.
package api
