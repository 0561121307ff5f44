package shm

import (
	"fmt"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/buffer"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
)

// large is from how many bytes on a tensor is better off in shared memory.
const large = 64 << 10

// output is one of a model's.
type output struct {
	name string
	size int64 // bytes; -1: it depends on the input
}

func outputsOf(m oip.ModelMetadata) []output {
	list := make([]output, len(m.Outputs))
	for i, o := range m.Outputs {
		size, err := tensor.ByteSize(o.Datatype, o.Shape)
		if err != nil {
			size = -1
		}
		list[i] = output{o.Name, size}
	}
	return list
}

// plan is where the tensors of a request go in a segment.
type plan struct {
	r       *oip.Request
	inputs  []int64      // offsets by input; -1: it stays in the message
	outputs []oip.Output // as r has them, with places as offsets of no region
	size    int64        // bytes of the segment that are needed
}

// newPlan finds what is large in a request; nil if nothing is. known are the
// model's outputs, nil where they are not known.
func newPlan(r *oip.Request, known []output) *plan {
	if !hasLarge(r, known) {
		return nil // before anything is allocated: most requests are small
	}
	p := &plan{r: r}
	place := func(n int64) (offset int64) {
		offset = p.size
		p.size += buffer.RoundUp(n)
		return offset
	}
	p.inputs = make([]int64, len(r.Inputs))
	for i := range r.Inputs {
		p.inputs[i] = -1
		if n := int64(len(r.Inputs[i].Data)); n >= large {
			p.inputs[i] = place(n)
		}
	}
	p.outputs = wanted(r, known)
	for i := range p.outputs {
		o := &p.outputs[i]
		for _, k := range known {
			if k.name == o.Name && k.size >= large {
				o.Place = oip.Place{Offset: place(k.size), Size: k.size}
			}
		}
	}
	if p.size == 0 {
		return nil
	}
	return p
}

// hasLarge reports whether a request may have a large tensor.
func hasLarge(r *oip.Request, known []output) bool {
	for i := range r.Inputs {
		if int64(len(r.Inputs[i].Data)) >= large {
			return true
		}
	}
	for i := range known {
		if known[i].size >= large {
			return true
		}
	}
	return false
}

// wanted are a request's outputs, by name where they are known.
func wanted(r *oip.Request, known []output) []oip.Output {
	if len(r.Outputs) > 0 {
		return append([]oip.Output(nil), r.Outputs...)
	}
	list := make([]oip.Output, len(known))
	for i, k := range known {
		list[i] = oip.Output{Name: k.name, Binary: r.BinaryOutputs}
	}
	return list
}

// request is the planned one with its large inputs copied to a segment.
func (p *plan) request(g *segment) *oip.Request {
	out := &oip.Request{
		ID: p.r.ID, BinaryOutputs: p.r.BinaryOutputs, Outputs: p.outputs,
		Inputs: append([]tensor.Tensor(nil), p.r.Inputs...),
		Places: make([]oip.Place, len(p.r.Inputs)),
	}
	for i, offset := range p.inputs {
		if offset < 0 {
			continue
		}
		t := &out.Inputs[i]
		n := copy(g.Data[offset:], t.Data)
		out.Places[i] = oip.Place{Region: g.region, Offset: offset, Size: int64(n)}
		t.Data = nil
	}
	for i := range p.outputs {
		if p.outputs[i].Place.Size > 0 {
			p.outputs[i].Place.Region = g.region
		}
	}
	return out
}

// takeOutputs copies the outputs out of the segment, which is then free for the
// next request: into the caller's buffers where it gave some that fit, else into
// ones that the response owns. oip.ErrMalformed: an output is not where it was
// wanted.
func (p *plan) takeOutputs(resp *oip.Response, g *segment, buffers *buffer.Pool) error {
	room := int64(0)
	for i, place := range resp.Places {
		if place.Shared() && !p.planned(resp.Outputs[i].Name, place, g) {
			return fmt.Errorf("%w: output %q is said to be at %+v in shared memory", oip.ErrMalformed, resp.Outputs[i].Name, place)
		}
		room += buffer.RoundUp(place.Size)
	}
	if room == 0 {
		return nil
	}
	own := buffers.Get(int(room))
	free := own.Data
	for i, place := range resp.Places {
		t := &resp.Outputs[i]
		if !place.Shared() {
			continue
		}
		if into := p.into(t.Name); int64(len(into)) == place.Size {
			t.Data = into
		} else {
			t.Data = free[:place.Size:place.Size]
			free = free[buffer.RoundUp(place.Size):]
		}
		copy(t.Data, g.Data[place.Offset:place.Offset+place.Size])
	}
	resp.Places = nil
	resp.Own(own)
	return nil
}

// planned reports whether an output was wanted at a place.
func (p *plan) planned(name string, place oip.Place, g *segment) bool {
	for _, o := range p.outputs {
		if o.Name == name {
			return place.Region == g.region && place.Offset == o.Place.Offset && place.Size <= o.Place.Size
		}
	}
	return false
}

// into is the caller's buffer for an output.
func (p *plan) into(name string) []byte {
	for i := range p.r.Outputs {
		if p.r.Outputs[i].Name == name {
			return p.r.Outputs[i].Into
		}
	}
	return nil
}
