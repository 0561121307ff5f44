package function

import (
	"strconv"
	"time"
)

// Scale is what a function asks for in labels com.openfaas.scale.*.
type Scale struct {
	Min int // replicas that are started, 0 if not said
	Max int // 0 if not said
	// Zero says that the function may be scaled to zero when it is idle for
	// ZeroAfter.
	Zero      bool
	ZeroAfter time.Duration
}

const prefixScale = "com.openfaas.scale."

// scale reads the labels. The gateway makes a function unreachable if it cannot
// read one of them, so each is checked here although not all are used here.
func (p *parser) scale() Scale {
	s := Scale{
		Min: p.scaleInt("min", 1, 1000, "replicas; "+prefixScale+`zero=true lets an idle function be scaled to zero`),
		Max: p.scaleInt("max", 1, 1000, "replicas"),
	}
	p.scaleInt("factor", 1, 100, "per cent; a function that is not to be scaled has min and max equal")
	p.scaleInt("target", 1, 1<<30, "")
	if s.Max > 0 && s.Min > s.Max {
		p.fail(prefixScale+"min", "%d is more than the %d of %smax", s.Min, s.Max, prefixScale)
	}
	if v, ok := p.settings[prefixScale+"zero"]; ok {
		zero, err := strconv.ParseBool(v)
		if err != nil {
			p.fail(prefixScale+"zero", "%q is neither true nor false", v)
		}
		s.Zero = zero
	}
	if v, ok := p.settings[prefixScale+"zero-duration"]; ok {
		after, err := time.ParseDuration(v)
		if err != nil || after <= 0 {
			p.fail(prefixScale+"zero-duration", "%q is not a duration such as 15m", v)
		}
		s.ZeroAfter = after
	}
	if v, ok := p.settings[prefixScale+"target-proportion"]; ok {
		if f, err := strconv.ParseFloat(v, 64); err != nil || !(f > 0 && f <= 1) {
			p.fail(prefixScale+"target-proportion", "%q is not a number above 0 and up to 1", v)
		}
	}
	return s
}

func (p *parser) scaleInt(name string, least, most int, of string) int {
	v, ok := p.settings[prefixScale+name]
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		if of != "" {
			of = " " + of
		}
		p.fail(prefixScale+name, "%q is not a number from %d to %d%s", v, least, most, of)
		return 0
	}
	return n
}
