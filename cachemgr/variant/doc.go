// Package variant puts several engines behind one cache manager's methods: a
// manager of GPUs, one of the CPU, and a builder of plans.
//
// A model that functions bring as ONNX has one file and several variants: the file
// itself on the CPU, and a plan for each precision and batch that some function
// asks for. A plan is a model of its own to the GPUs' manager; nobody else knows
// of it. A model that functions bring as a plan has no variants.
//
// Each plan has a goroutine (plan.go) that has it built or finds it, loads it,
// holds its inputs and outputs against those of the ONNX file, and from then on
// lets requests use it, until the model is forgotten. So no request waits for the
// change from one variant to another, and none fails by it. What a request gets
// is decided by choose, from the variants that there are at that moment.
//
// Router.mu guards the models and their plans. No call of a manager or of the
// builder happens under it. Router.pins is held while a pin moves between managers.
// A request reads one immutable view of its model.
package variant
