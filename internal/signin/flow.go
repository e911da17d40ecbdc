package signin

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-logout/caddy-logout/internal/web"
)

// flowLifetime is how long a sign-in may take from its first page.
const flowLifetime = time.Hour

// flowSkew is how far the clocks of two nodes may be apart.
const flowSkew = time.Minute

// The versions of flow ids. Both are laid out as version 7 of RFC 9562 (section 5.7):
// milliseconds, then random bits. An API flow says that it is one by being of version
// 8. Anyone can make up an id and gains nothing. A browser's flow needs, on
// submission, a token that is bound to the browser. An API flow neither reads nor
// sets a cookie, so it cannot sign a browser in or out.
const (
	browserFlowVersion = 7
	apiFlowVersion     = 8
)

// Flow is a sign-in that was begun. The server keeps nothing of it.
type Flow struct {
	ID       string
	api      bool
	issuedAt time.Time
	// returnTo is a checked return URL, empty if none was asked for.
	returnTo string
	refresh  bool
}

// NewFlow begins a sign-in.
func NewFlow(api bool, now time.Time) Flow {
	var b [16]byte
	_, _ = rand.Read(b[6:]) // never fails: crypto/rand ends the program instead
	issuedAt := now.UTC().Truncate(time.Millisecond)
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(issuedAt.UnixMilli()))
	copy(b[:6], ms[2:])
	version := byte(browserFlowVersion)
	if api {
		version = apiFlowVersion
	}
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	return Flow{ID: uuid.UUID(b).String(), api: api, issuedAt: issuedAt}
}

// parseFlow reads the id of a flow that has not ended.
func parseFlow(id string, now time.Time) (Flow, error) {
	u, err := uuid.Parse(id)
	// One flow has one id: the other spellings that uuid.Parse accepts are not ids.
	if err != nil || u.String() != id || u.Variant() != uuid.RFC4122 ||
		(u.Version() != browserFlowVersion && u.Version() != apiFlowVersion) {
		return Flow{}, web.ErrNotFound()
	}
	var ms [8]byte
	copy(ms[2:], u[:6])
	issuedAt := time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))).UTC()
	if !now.Before(issuedAt.Add(flowLifetime)) || issuedAt.After(now.Add(flowSkew)) {
		return Flow{}, web.NewError(http.StatusGone, "self_service_flow_expired",
			"The login flow expired, please initialize a new one.", "The self-service flow expired")
	}
	return Flow{ID: id, api: u.Version() == apiFlowVersion, issuedAt: issuedAt}, nil
}

// URL is where the form of the flow is shown and sent to. base goes before the
// path.
func (f *Flow) URL(base string) string {
	query := "flow=" + f.ID
	if f.refresh {
		query += "&refresh=true"
	}
	if f.returnTo != "" {
		query += "&return_to=" + url.QueryEscape(f.returnTo)
	}
	return base + loginPath + "?" + query
}

// csrfMAC binds the flow to the browser that holds the secret.
func (f *Flow) csrfMAC(secret string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("caddy-logout login csrf v1\n" + f.ID))
	return mac.Sum(nil)
}

// CSRFToken returns the token that a form of this flow has to carry. It is
// masked anew each time, since a secret that stands unchanged in a compressed
// page can be found by its length (the BREACH attack).
func (f *Flow) CSRFToken(secret string) string {
	token := make([]byte, 2*sha256.Size)
	mask := token[:sha256.Size]
	_, _ = rand.Read(mask) // never fails: crypto/rand ends the program instead
	subtle.XORBytes(token[sha256.Size:], mask, f.csrfMAC(secret))
	return base64.StdEncoding.EncodeToString(token)
}

// csrfMatches reports whether the token was made for this flow and the browser
// with this secret. Without a secret nothing matches.
func (f *Flow) csrfMatches(secret, token string) bool {
	b, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(b) != 2*sha256.Size || secret == "" {
		return false
	}
	subtle.XORBytes(b[:sha256.Size], b[:sha256.Size], b[sha256.Size:])
	return hmac.Equal(b[:sha256.Size], f.csrfMAC(secret))
}

// flowState is what a form shows besides its fields.
type flowState struct {
	identifier                         string
	message                            *uiText
	missingIdentifier, missingPassword bool
}

// WireFlow is the flow as clients' models need it. Ids of texts are those of Ory's clients,
// which translate by them; the sentences are ours.
type (
	WireFlow struct {
		ID           string      `json:"id"`
		Type         string      `json:"type"`
		ExpiresAt    time.Time   `json:"expires_at"`
		IssuedAt     time.Time   `json:"issued_at"`
		RequestURL   string      `json:"request_url"`
		ReturnTo     string      `json:"return_to,omitempty"`
		UI           uiContainer `json:"ui"`
		CreatedAt    time.Time   `json:"created_at"`
		UpdatedAt    time.Time   `json:"updated_at"`
		Refresh      bool        `json:"refresh"`
		RequestedAAL string      `json:"requested_aal"`
		State        string      `json:"state"`
	}
	uiContainer struct {
		Action   string   `json:"action"`
		Method   string   `json:"method"`
		Nodes    []uiNode `json:"nodes"`
		Messages []uiText `json:"messages,omitempty"`
	}
	uiNode struct {
		Type       string       `json:"type"`
		Group      string       `json:"group"`
		Attributes uiAttributes `json:"attributes"`
		Messages   []uiText     `json:"messages"`
		Meta       uiMeta       `json:"meta"`
	}
	uiAttributes struct {
		Name         string `json:"name"`
		Type         string `json:"type"`
		Value        any    `json:"value,omitempty"`
		Required     bool   `json:"required,omitempty"`
		Autocomplete string `json:"autocomplete,omitempty"`
		Disabled     bool   `json:"disabled"`
		NodeType     string `json:"node_type"`
	}
	uiMeta struct {
		Label *uiText `json:"label,omitempty"`
	}
	uiText struct {
		ID      int64          `json:"id"`
		Text    string         `json:"text"`
		Type    string         `json:"type"`
		Context map[string]any `json:"context,omitempty"`

		page     string // the key of what our own page says, and its values
		pageArgs []any
	}
)

// json returns the flow as clients see it; base goes before all paths.
func (f *Flow) json(base, csrf string, state flowState) WireFlow {
	kind, begin := "browser", browserPath
	if f.api {
		kind, begin = "api", apiPath
	}
	requested := base + begin
	if f.returnTo != "" {
		requested += "?return_to=" + url.QueryEscape(f.returnTo)
	}
	identifier := inputNode("default", uiAttributes{Name: "identifier", Type: "text", Required: true}, 1070004, "Name")
	if state.identifier != "" {
		identifier.Attributes.Value = state.identifier
	}
	password := inputNode("password", uiAttributes{Name: "password", Type: "password", Required: true, Autocomplete: "current-password"}, 1070001, "Password")
	if state.missingIdentifier {
		identifier.Messages = append(identifier.Messages, missing("identifier"))
	}
	if state.missingPassword {
		password.Messages = append(password.Messages, missing("password"))
	}
	token := inputNode("default", uiAttributes{Name: "csrf_token", Type: "hidden", Value: csrf, Required: true}, 0, "")
	submit := inputNode("password", uiAttributes{Name: "method", Type: "submit", Value: "password"}, 1010022, "Sign in with password")
	out := WireFlow{
		ID: f.ID, Type: kind, State: "choose_method",
		IssuedAt: f.issuedAt, CreatedAt: f.issuedAt, UpdatedAt: f.issuedAt,
		ExpiresAt:  f.issuedAt.Add(flowLifetime),
		RequestURL: requested, ReturnTo: f.returnTo,
		Refresh: f.refresh, RequestedAAL: web.AAL1,
		UI: uiContainer{Action: f.URL(base), Method: http.MethodPost, Nodes: []uiNode{token, identifier, password, submit}},
	}
	if state.message != nil {
		out.UI.Messages = []uiText{*state.message}
	}
	return out
}

func inputNode(group string, attributes uiAttributes, labelID int64, label string) uiNode {
	attributes.NodeType = "input"
	node := uiNode{Type: "input", Group: group, Attributes: attributes, Messages: []uiText{}}
	if label != "" {
		node.Meta.Label = &uiText{ID: labelID, Text: label, Type: "info"}
	}
	return node
}

// missing says that a field is empty.
func missing(property string) uiText {
	return uiText{ID: 4000002, Text: "Property " + property + " is missing.", Type: "error", Context: map[string]any{"property": property}}
}
