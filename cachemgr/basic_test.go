package cachemgr

import "testing"

func TestHitSwapLoad(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.add("a", 60)
		r.add("b", 60)
		r.want("a", "load")
		r.want("a", "hit")
		r.want("b", "load")
		r.wantState("a", "staged")
		r.want("a", "swap")
		r.wantState("b", "staged")
		st := r.m.Status().Models["a"].Stats
		if st.Hits != 1 || st.Loads != 1 || st.Swaps != 1 || st.Evictions != 1 || st.SwapBytes != 120 || st.Failures != 0 || st.LastUsed == "" {
			r.Errorf("stats %+v", st)
		}
	})
}
