// Package watchdog is what a function in Go is compiled with. The handler is an
// ordinary one of net/http; Main serves it, and keeps the function's models,
// which lie in models/NAME/VERSION/model.onnx, known to the node's cache manager:
//
//	func main() { os.Exit(watchdog.Main(Handle)) }
//
//	func Handle(w http.ResponseWriter, r *http.Request) {
//		out, err := watchdog.Model("digits").Infer(r.Context(),
//			watchdog.NewTensor("pixels", []int64{1, 1, 8, 8}, pixels))
//		if err != nil {
//			watchdog.Error(w, err)
//			return
//		}
//		probabilities, err := watchdog.Data[float32](out, "probabilities")
//		...
//	}
//
// Program fwatchdog does the same for a server of any other language.
package watchdog
