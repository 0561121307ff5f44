package oip

import (
	"errors"
	"strings"
	"testing"
)

// in is a request with one input of these fields, x one that is called x.
func in(fields string) string { return `{"inputs":[{` + fields + `}]}` }
func x(fields string) string  { return in(`"name":"x",` + fields) }

// shared has four bytes in region r, if parameters say that.
func shared(parameters string) string {
	return x(`"shape":[4],"datatype":"UINT8","parameters":{"shared_memory_region":"r",` + parameters + `}`)
}

// malformedRequest is one that must be refused with an error that says so.
type malformedRequest struct{ name, header, data, want string }

func (tt malformedRequest) check(t *testing.T) {
	t.Run(tt.name, func(t *testing.T) {
		r, err := readBinary(tt.header, tt.data)
		if err == nil {
			t.Fatalf("accepted: %+v", r)
		}
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %q, want ErrMalformed with %q", err, tt.want)
		}
	})
}

func TestMalformedRequests(t *testing.T) {
	for _, tt := range []malformedRequest{
		{"nothing", ``, "", "ends at byte 0"},
		{"no object", `[]`, "", "an object should be"},
		{"no inputs", `{}`, "", `no "inputs"`},
		{"cut off", `{"inputs":[`, "", "ends at byte 11"},
		{"more behind", in(`"name":"x","shape":[1],"datatype":"UINT8","data":[1]`) + "x", "", "the end should be"},
		{"a field twice", `{"id":"a","id":"b"}`, "", `"id" is there twice`},
		{"wrong type of id", `{"id":7}`, "", "a string should be"},
		{"no name", in(`"shape":[1],"datatype":"UINT8","data":[1]`), "", "input 0: malformed inference message: it has no name"},
		{"no datatype", x(`"shape":[1],"data":[1]`), "", `input "x": malformed inference message: it has no datatype`},
		{"unknown datatype", x(`"shape":[1],"datatype":"FP8","data":[1]`), "", "none of BOOL"},
		{"no shape", x(`"datatype":"UINT8","data":[1]`), "", "no shape"},
		{"negative shape", x(`"shape":[-1],"datatype":"UINT8","data":[1]`), "", "negative dimension"},
		{"fraction in the shape", x(`"shape":[1.5],"datatype":"UINT8","data":[1]`), "", "1.5 is not a whole number"},
		{"shape that overflows", x(`"shape":[4294967296,4294967296],"datatype":"UINT8","parameters":{"binary_data_size":0}`), "", "overflows"},
		{"bytes that overflow", x(`"shape":[4611686018427387904],"datatype":"FP32","parameters":{"binary_data_size":0}`), "", "overflows"},
		{"huge shape, little data", x(`"shape":[1000000000],"datatype":"FP64","data":[1]`), "", "too short"},
		{"too many dimensions", x(`"shape":[` + strings.Repeat("1,", 32) + `1],"datatype":"UINT8","data":[1]`), "", "more than 32 dimensions"},
		{"same name twice", `{"inputs":[{"name":"x","shape":[1],"datatype":"UINT8","data":[1]},{"name":"x","shape":[1],"datatype":"UINT8","data":[1]}]}`, "", `input "x": malformed inference message: the name is there twice`},
		{"no data", x(`"shape":[1],"datatype":"UINT8"`), "", "neither"},
		{"both kinds of data", x(`"shape":[1],"datatype":"UINT8","data":[1],"parameters":{"binary_data_size":1}`), "a", "both"},
		{"too few elements", x(`"shape":[3],"datatype":"UINT8","data":[1,   2]`), "", "has not the 3 elements"},
		{"too many elements", x(`"shape":[2],"datatype":"UINT8","data":[1,2,3]`), "", "has not the 2 elements"},
		{"ragged", x(`"shape":[2,2],"datatype":"UINT8","data":[[1,2,3],[4]]`), "", "has not the 2 elements"},
		{"nested too deep", x(`"shape":[1],"datatype":"UINT8","data":[[1]]`), "", "a number should be"},
		{"out of range", x(`"shape":[1],"datatype":"UINT8","data":[256]`), "", `input "x": malformed inference message: 256 is not a value of UINT8`},
		{"negative unsigned", x(`"shape":[1],"datatype":"UINT32","data":[-1]`), "", "-1 is not a value of UINT32"},
		{"fraction", x(`"shape":[1],"datatype":"INT32","data":[1.0]`), "", "1.0 is not a value of INT32"},
		{"float out of range", x(`"shape":[1],"datatype":"FP32","data":[1e39]`), "", "1e39 is not a value of FP32"},
		{"number as bool", x(`"shape":[1],"datatype":"BOOL","data":[1]`), "", "true or false should be"},
		{"number as string", x(`"shape":[1],"datatype":"BYTES","data":[111]`), "", "a string should be"},
		{"NaN", x(`"shape":[1],"datatype":"FP32","data":[NaN]`), "", "a value should be"},
		{"leading zero", x(`"shape":[1],"datatype":"FP32","data":[01]`), "", `"," or`},
		{"half in JSON", x(`"shape":[1],"datatype":"FP16","data":[1]`), "", "binary data only"},
		{"bad escape", x(`"shape":[1],"datatype":"BYTES","data":["\x"]`), "", "wrong escape"},
		{"lone surrogate", x(`"shape":[1],"datatype":"BYTES","data":["\ud800"]`), "", "wrong escape"},
		{"not UTF-8", "{\"id\":\"\xff\"}", "", "not valid UTF-8"},
		{"control character", "{\"id\":\"\n\"}", "", "control character"},
		{"string without end", `{"id":"abc`, "", "has no end"},
		{"too deep", `{"other":` + strings.Repeat("[", 100) + `}`, "", "nests deeper"},
	} {
		tt.check(t)
	}
}

func TestMalformedBinaryRequests(t *testing.T) {
	for _, tt := range []malformedRequest{
		{"size against shape", x(`"shape":[2],"datatype":"FP32","parameters":{"binary_data_size":4}`), "abcd", "has 8 bytes, binary_data_size is 4"},
		{"negative size", x(`"shape":[2],"datatype":"FP32","parameters":{"binary_data_size":-2}`), "", "negative"},
		{"too little data", x(`"shape":[4],"datatype":"UINT8","parameters":{"binary_data_size":4}`), "abc", "are not the"},
		{"too much data", x(`"shape":[4],"datatype":"UINT8","parameters":{"binary_data_size":4}`), "abcde", "are not the"},
		{"bool that is 2", x(`"shape":[2],"datatype":"BOOL","parameters":{"binary_data_size":2}`), "\x01\x02", "a BOOL is 0 or 1"},
		{"string longer than the data", x(`"shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}`), "\x02\x00\x00\x00a", "only 1 follow"},
		{"string length cut off", x(`"shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":6}`), "\x00\x00\x00\x00ab", "cut off"},
		{"fewer strings", x(`"shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":8}`), "\x04\x00\x00\x00abcd", "it has 1 strings"},
		{"more strings than bytes", x(`"shape":[3],"datatype":"BYTES","parameters":{"binary_data_size":8}`), "\x04\x00\x00\x00abcd", "too small for that"},
		{"shared and binary", shared(`"shared_memory_byte_size":4,"binary_data_size":4`), "abcd", "both shared_memory_region and"},
		{"shared and text", x(`"shape":[1],"datatype":"UINT8","data":[1],"parameters":{"shared_memory_region":"r","shared_memory_byte_size":1}`), "", "both shared_memory_region and"},
		{"no region", x(`"shape":[4],"datatype":"UINT8","parameters":{"binary_data_size":4,"shared_memory_byte_size":4}`), "abcd", "without shared_memory_region"},
		{"no size", shared(`"shared_memory_offset":4`), "", "has 4 bytes, shared_memory_byte_size is 0"},
		{"another size", shared(`"shared_memory_byte_size":5`), "", "has 4 bytes, shared_memory_byte_size is 5"},
		{"negative offset", shared(`"shared_memory_byte_size":4,"shared_memory_offset":-1`), "", "offset is negative"},
		{"negative shared size", shared(`"shared_memory_byte_size":-4`), "", "byte_size is negative"},
		{"offset that overflows", shared(`"shared_memory_byte_size":4,"shared_memory_offset":9223372036854775804`), "", "no number of 64 bits"},
		{"offset of 65 bits", shared(`"shared_memory_byte_size":4,"shared_memory_offset":18446744073709551616`), "", "not a whole number of 64 bits"},
		{"more strings than shared bytes", x(`"shape":[3],"datatype":"BYTES","parameters":{"shared_memory_region":"r","shared_memory_byte_size":8}`), "", "too small for that"},
		{"shared output", `{"inputs":[],"outputs":[{"name":"y","parameters":{"shared_memory_region":"r","shared_memory_byte_size":-1}}]}`, "", `requested output "y": malformed inference message: shared_memory_byte_size is negative`},
		{"classification", `{"inputs":[],"outputs":[{"name":"y","parameters":{"classification":3}}]}`, "", `requested output "y": malformed inference message: classification`},
		{"output without name", `{"inputs":[],"outputs":[{}]}`, "", "no name"},
		{"output twice", `{"inputs":[],"outputs":[{"name":"y"},{"name":"y"}]}`, "", "twice"},
	} {
		tt.check(t)
	}
}
