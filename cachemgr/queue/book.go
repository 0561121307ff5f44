package queue

import "time"

// A window is as long as buckets times bucketSpan: what happened before counts no
// more. In it a function that is asked ten times a minute has a hundred requests,
// which is what an objective of 98 % needs to be told from one of 97 %.
const (
	buckets    = 10
	bucketSpan = time.Minute
)

// Book counts for every function the requests that were sent, and those that were
// answered in time, over a window. Every request that was sent counts, also one
// that was refused, that its caller gave up, or that got an error.
type Book struct {
	target    float64
	functions map[string]*Function
	sweepAt   time.Duration
}

// NewBook returns an empty book. target is the share of requests that should be
// answered in time, below 1.
func NewBook(target float64) *Book {
	return &Book{target: target, functions: map[string]*Function{}}
}

// Function is what a book knows of one function.
type Function struct {
	sent, met [buckets]int64
	allSent   int64 // sums
	allMet    int64
	bucket    int64 // the latest one's number since the start
	low       bool  // as RRC has it
}

// Function returns a function's counts. It is the same until nothing was counted
// for a whole window.
func (b *Book) Function(now time.Duration, name string) *Function {
	b.sweep(now)
	f := b.functions[name]
	if f == nil {
		f = &Function{}
		b.functions[name] = f
	}
	f.advance(now)
	return f
}

// sweep forgets functions that nothing is known of any more.
func (b *Book) sweep(now time.Duration) {
	if now < b.sweepAt {
		return
	}
	b.sweepAt = now + buckets*bucketSpan
	for name, f := range b.functions {
		if f.advance(now); f.allSent == 0 {
			delete(b.functions, name)
		}
	}
}

// Count counts one request that has ended, whatever its end; met is that it was
// answered, and in time.
func (f *Function) Count(now time.Duration, met bool) {
	f.advance(now)
	at := f.bucket % buckets
	f.sent[at]++
	f.allSent++
	if met {
		f.met[at]++
		f.allMet++
	}
}

// advance drops what is older than the window.
func (f *Function) advance(now time.Duration) {
	bucket := int64(now / bucketSpan)
	for range min(bucket-f.bucket, buckets) {
		f.bucket++
		at := f.bucket % buckets
		f.allSent -= f.sent[at]
		f.allMet -= f.met[at]
		f.sent[at], f.met[at] = 0, 0
	}
	f.bucket = max(f.bucket, bucket)
}

// Counts are the requests of the window: all, and those answered in time.
func (f *Function) Counts(now time.Duration) (sent, met int64) {
	f.advance(now)
	return f.allSent, f.allMet
}

// required is how many requests in a row have to be answered in time until the
// share of them is the target; it is not above 0 if it is that already. It solves
// (met + x) / (sent + x) = target.
func (f *Function) required(target float64) float64 {
	return (target*float64(f.allSent) - float64(f.allMet)) / (1 - target)
}
