package fleet

// estimate follows a quantity that is measured now and then: an exponentially
// weighted mean over about the last memory samples. Once there are a few, a sample
// counts as at most outlier times the mean and at least its outlier-th part, so
// that a single hiccup changes little and a lasting change still gets through.
type estimate struct {
	value   float64
	samples int
}

const (
	memory  = 8
	outlier = 4
	settled = 3 // samples before outliers are told from others
)

// add takes in a mean of so many measurements.
func (e *estimate) add(mean float64, measurements int) {
	for range min(measurements, memory) {
		sample := mean
		if e.samples >= settled {
			sample = min(max(sample, e.value/outlier), e.value*outlier)
		}
		e.samples++
		e.value += (sample - e.value) / float64(min(e.samples, memory))
	}
}

// known reports whether anything was measured.
func (e *estimate) known() bool { return e.samples > 0 }

// or is the value, or what is assumed as long as nothing was measured.
func (e *estimate) or(assumed float64) float64 {
	if e.known() {
		return e.value
	}
	return assumed
}
