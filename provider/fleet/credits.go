package fleet

import (
	"math"
	"time"
)

// flight is how long requests to a device are on their way, and how long they
// compute there.
type flight struct{ way, compute estimate }

// add takes in an answer: the time from sending the request to the head of the
// answer, without waiting for bytes or for the device, and its part that the
// device computed. How long the client takes to read the rest is not the device's.
func (f *flight) add(way, compute time.Duration) {
	if compute > 0 && way >= compute {
		f.way.add(float64(way), 1)
		f.compute.add(float64(compute), 1)
	}
}

// mostOnTheWay is how many requests there may be for each that is computed.
const mostOnTheWay = 16

// credits is how many requests d may be given: those that it computes at once,
// and for each of them, by Little's law, those that have to be on their way to or
// from it meanwhile so that it does not stand still; and the spare ones.
func (f *Fleet) credits(d *device) int {
	if f.cfg.Credits > 0 {
		return f.cfg.Credits
	}
	each := 1
	if d.flight.compute.samples >= settled {
		each = int(math.Ceil(d.flight.way.value/d.flight.compute.value - 0.5))
	}
	each = min(max(1, each), mostOnTheWay)
	// A change of one more or less on the way is no news.
	if now := (d.Credits - f.cfg.Spare) / max(1, d.Slots); d.Credits > 0 && now > 2 && each >= now-1 && each <= now+1 {
		each = now
	}
	return each*max(1, d.Slots) + f.cfg.Spare
}
