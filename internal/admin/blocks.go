package admin

import (
	"net/http"
	"net/netip"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/signin"
	"github.com/caddy-logout/caddy-logout/internal/web"
)

// maxAccountLength bounds the name of an account in bytes.
const maxAccountLength = 256

// lift forgets failed attempts at an account, from an address, or both together, in
// all login handlers of this process. Other processes count for themselves.
func (s *API) lift(w http.ResponseWriter, r *http.Request) error {
	query, err := adminQuery(r, "account", "address")
	if err != nil {
		return err
	}
	account, address := query.Get("account"), query.Get("address")
	switch {
	case account == "" && address == "":
		return adminError(http.StatusBadRequest, "want account, address or both, as in ?account=alice&address=192.0.2.7")
	case len(account) > maxAccountLength:
		return adminError(http.StatusBadRequest, "account: too long")
	case address != "":
		if _, err := netip.ParseAddr(address); err != nil {
			return adminError(http.StatusBadRequest, "address: want an IP address")
		}
	}
	lifted := signin.Lift(account, address)
	s.logger.Info("blocks lifted", zap.String("account", account), zap.String("address", address), zap.Int("count", lifted))
	return web.WriteJSON(w, http.StatusOK, map[string]int{"lifted": lifted})
}
