// Package onnxfile reads as much of an ONNX file as must be known before a
// runtime sees it: what it takes and gives, how many bytes it needs, and whether
// it reaches outside itself. It reads untrusted bytes; it runs nothing.
package onnxfile
