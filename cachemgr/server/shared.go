package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/cachemgr/server/region"
)

// shared is the memory of its function that a call uses.
type shared struct {
	regions []*region.Region
}

// at is the memory at a place, until release.
func (m *shared) at(p *region.Pool, f api.FunctionRef, place oip.Place) ([]byte, error) {
	var r *region.Region
	for _, have := range m.regions {
		if have.Name() == place.Region {
			r = have
		}
	}
	if r == nil {
		var err error
		if r, err = p.Use(f, place.Region); err != nil {
			return nil, err
		}
		m.regions = append(m.regions, r)
	}
	return r.Slice(place.Offset, place.Size)
}

func (m *shared) release() {
	for _, r := range m.regions {
		r.Release()
	}
	m.regions = nil
}

// used reports whether any of the call's tensors is there.
func (m *shared) used() bool { return len(m.regions) > 0 }

// attach finds the inputs that are in shared memory. The function can change them
// at any time, so those whose contents mean something beside the model are copied
// before they are looked at.
func (c *call) attach() error {
	for i, place := range c.request.Places {
		if !place.Shared() {
			continue
		}
		t := &c.request.Inputs[i]
		// The engine may need a copy.
		if err := c.reserve(place.Size); err != nil {
			return err
		}
		data, err := c.shared.at(c.server.regions, c.entry.function, place)
		if err != nil {
			return fmt.Errorf("input %q: %w", t.Name, err)
		}
		if t.Data = data; t.Datatype == tensor.Bool || t.Datatype == tensor.Bytes {
			t.Data = append(make([]byte, 0, len(data)), data...)
			if err := oip.CheckData(t); err != nil {
				return fmt.Errorf("input %q: %w", t.Name, err)
			}
		}
	}
	return nil
}

// attachOutputs finds the shared memory that outputs are wanted in; picked are
// these in the spec.
func (c *call) attachOutputs(picked []int) error {
	for at, o := range c.request.Outputs {
		if !o.Place.Shared() {
			continue
		}
		data, err := c.shared.at(c.server.regions, c.entry.function, o.Place)
		if err != nil {
			return fmt.Errorf("output %q: %w", o.Name, err)
		}
		c.outputs.share(at, o.Place, data, c.spec.outputBytes[picked[at]])
	}
	return nil
}

// owner says whose a token is, if that may share memory.
func (s *Server) owner(token string) (region.Owner, error) {
	authorization := ""
	if token != "" {
		authorization = "Bearer " + token
	}
	c, err := s.auth.Caller(authorization)
	if err == nil && !c.Owner {
		err = errors.New("shared memory is for functions, and this token is of the provider")
	}
	return region.Owner{Function: c.Function, Minted: c.Minted, Expires: c.Expires}, err
}

// goneOwner reports whether the function has ceased to exist.
func (s *Server) goneOwner(o region.Owner) bool { return s.store.Gone(o.Function, o.Minted) }

// sharedPatience is how long a client of the socket for shared memory may take to
// say who it is.
const sharedPatience = 10 * time.Second

// SharedMemoryServer serves the socket where functions hand over memory; admit
// says whether there may be one more connection, left that it has ended. There is
// one: the last.
func (s *Server) SharedMemoryServer(admit func(net.Conn) bool, left func(net.Conn)) *region.Server {
	server := &region.Server{
		Pool: s.regions, Epoch: s.Epoch(), Log: s.log, Patience: sharedPatience,
		Owner: s.owner, Gone: s.goneOwner, Admit: admit, Left: left,
	}
	s.sharing.Store(server)
	return server
}

// Regions is the memory that functions share with this server.
func (s *Server) Regions() *region.Pool { return s.regions }

// sharedMemory lists the caller's regions, or describes the one named.
func (s *Server) sharedMemory(w http.ResponseWriter, r *http.Request, c Caller) error {
	name := r.PathValue("region")
	list := []oip.SharedMemory{}
	for _, info := range s.regions.List(c.Function) {
		if name == "" || name == info.Name {
			list = append(list, oip.SharedMemory{Name: info.Name, ByteSize: info.Size})
		}
	}
	if name != "" && len(list) == 0 {
		return fmt.Errorf("%w %.80q", region.ErrUnknown, name)
	}
	s.writeJSON(w, http.StatusOK, list)
	return nil
}

// sharedMemoryByName refuses what Triton has for processes that see each other's
// /dev/shm: here they do not, and what they share must not be able to shrink.
func (s *Server) sharedMemoryByName(http.ResponseWriter, *http.Request, Caller) error {
	return fmt.Errorf("%w: regions are not registered by a key: a function hands a memfd over at %s, and the region lasts as long as that connection",
		errBadRequest, api.SocketShm)
}
