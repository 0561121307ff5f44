package api

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
)

// offerRounds is how often a set is offered before Offer gives up: once to ask
// what is needed, once after the uploads, and some for what others change
// meanwhile.
const offerRounds = 5

// File is a model file; *os.File is one.
type File interface {
	io.ReaderAt
	io.Closer
}

// Offer offers the full set of the caller's models, proves possession of the
// files that the node has, and uploads the others. It answers every model, in
// order, with Need "": registered, or refused with the reason in Error. The error
// is about the offer as a whole: *Error, ErrUnreachable, the cause of ctx, or a
// file that could not be opened or read.
func (c *Client) Offer(ctx context.Context, offer OfferRequest, open func(Offer) (File, error)) ([]Offered, error) {
	refused := make(map[int]string)
	for range offerRounds {
		var answer OfferResponse
		if err := c.call(ctx, http.MethodPost, RouteModels, offer, &answer); err != nil {
			return nil, err
		}
		if len(answer.Models) != len(offer.Models) {
			return nil, fmt.Errorf("cache manager answers %d models, %d were offered", len(answer.Models), len(offer.Models))
		}
		settled := true
		for i := range answer.Models {
			o := &answer.Models[i]
			if refused[i] == "" {
				if err := c.settle(ctx, offer.Models[i], o, open); err != nil {
					return nil, err
				}
				if o.Error != "" {
					refused[i] = o.Error
				}
			}
			if refused[i] != "" {
				o.Need, o.Error = "", refused[i]
			}
			settled = settled && o.Need == ""
		}
		if settled {
			return answer.Models, nil
		}
	}
	return nil, fmt.Errorf("cache manager still asks for models after %d offers", offerRounds)
}

// settle does what one model needs. It leaves a Need in o if the set has to be
// offered again.
func (c *Client) settle(ctx context.Context, offer Offer, o *Offered, open func(Offer) (File, error)) error {
	if o.Need == "" {
		return nil
	}
	file, err := open(offer)
	if err != nil {
		return fmt.Errorf("model %s version %s: %w", offer.Name, offer.Version, err)
	}
	defer file.Close()
	switch o.Need {
	case NeedProof:
		err = c.prove(ctx, offer, o, file)
	case NeedUpload:
		err = c.upload(ctx, offer, file)
	default:
		err = fmt.Errorf("cache manager asks for %q, which this client does not know", o.Need)
	}
	if e, ok := errors.AsType[*Error](err); ok && !IsUnavailable(err) && e.Status != http.StatusUnauthorized {
		o.Error = e.Message
		return nil
	}
	if err != nil {
		return fmt.Errorf("model %s version %s: %w", offer.Name, offer.Version, err)
	}
	return nil
}

// prove answers a challenge; o becomes the answer to that.
func (c *Client) prove(ctx context.Context, offer Offer, o *Offered, file File) error {
	nonce, err := base64.StdEncoding.DecodeString(o.Nonce)
	if err != nil {
		return fmt.Errorf("cache manager sent the nonce %q, which is not base64", o.Nonce)
	}
	sum, err := ProofOfPossession(nonce, file, offer.Size)
	if err != nil {
		return err
	}
	proof := Proof{Name: o.Name, Version: o.Version, Digest: o.Digest, Nonce: o.Nonce, SHA256: sum}
	*o = Offered{}
	return c.call(ctx, http.MethodPost, RouteProof, proof, o)
}

// upload sends a file. The cache manager may have got it from somebody else by
// now and answer without reading it.
func (c *Client) upload(ctx context.Context, offer Offer, file File) error {
	req, err := c.request(ctx, http.MethodPut, RouteBlobs+url.PathEscape(offer.Digest), io.NewSectionReader(file, 0, offer.Size))
	if err != nil {
		return err
	}
	req.ContentLength = offer.Size
	req.Header.Set("Content-Type", oip.ContentBinary)
	req.Header.Set("Expect", "100-continue")
	resp, err := c.do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	resp.Body.Close()
	if err != nil {
		return c.transportError(ctx, err)
	}
	return nil
}
