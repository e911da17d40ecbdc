package cli

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// readyCommand is for containers: an image without a shell has no curl, and a
// probe over the network cannot reach an admin endpoint that listens on loopback
// or on a socket, where alone it is safe.
func readyCommand() *cobra.Command {
	ready := &cobra.Command{
		Use:   "ready [--live] [--address <interface>] [--config <path> [--adapter <name>]]",
		Short: "Tells by its exit code whether the running Caddy can check sessions",
		Long: `Ends with 0 while the running Caddy can ask its session store, and with 1 while it
cannot, or while no Caddy is running.

With --live, the store is not asked: 0 as long as Caddy answers. Restart a
container by this one, as a restart does not bring a store back.`,
		Args: cobra.NoArgs,
		RunE: caddycmd.WrapCommandFuncForCobra(cmdReady),
	}
	ready.Flags().Bool("live", false, "Ask only whether Caddy answers, not whether its store does")
	ready.Flags().String("address", "", "The address of the admin endpoint")
	ready.Flags().StringP("config", "c", "", "A configuration file to read the admin address from")
	ready.Flags().StringP("adapter", "a", "", "The adapter of the configuration file")
	return ready
}

func cmdReady(flags caddycmd.Flags) (int, error) {
	path, answer := "/sessions/readiness", "ready"
	if flags.Bool("live") {
		path, answer = "/sessions/liveness", "alive"
	}
	address, err := caddycmd.DetermineAdminAPIAddress(flags.String("address"), nil, flags.String("config"), flags.String("adapter"))
	if err != nil {
		return caddy.ExitCodeFailedStartup, fmt.Errorf("finding the admin endpoint: %w", err)
	}
	resp, err := caddycmd.AdminAPIRequest(address, http.MethodGet, path, nil, nil)
	if err != nil { // what is not 2xx or 3xx, too
		return caddy.ExitCodeFailedStartup, printableError(fmt.Errorf("asking the admin endpoint: %w", err))
	}
	defer resp.Body.Close()
	fmt.Println(answer)
	return caddy.ExitCodeSuccess, nil
}
