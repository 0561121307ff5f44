// Package build makes TensorRT plans of ONNX files, and keeps them.
//
// A build is a program of its own (native/shim/builder): what it takes, it gives
// back by ending, and what it breaks is not the cache manager's. Builds run one
// after the other, each when the GPU is idle, because TensorRT chooses kernels by
// timing them, or when it has waited long enough. The device memory that a build
// may take is set aside before.
//
//	DIR/ID.plan        a plan, whole
//	DIR/ID.json        what it is; a plan without it does not count
//	DIR/timing-*.cache what earlier builds found out about kernels
//	DIR/tmp/           what a build is writing; emptied at New
//
// ID stands for the ONNX file's digest, the versions of TensorRT and the kind of
// GPU, the precision and the batch. Both files appear by a rename after they were
// synced, the plan first, so a plan that counts is whole, whenever the process or
// the machine ended. Nothing but the process that has the folder's lock writes to
// it. Plans that nobody uses are deleted, the least recently used first, when
// another needs the room.
package build
