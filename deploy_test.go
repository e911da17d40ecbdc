package caddylogout

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/caddy-logout/caddy-logout/internal/adapttest"
)

// read returns a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// found returns what the groups of a pattern match in a file that must hold it.
func found(t *testing.T, name, pattern string) []string {
	t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(read(t, name))
	if match == nil {
		t.Fatalf("%s: nothing like %s", name, pattern)
	}
	return match[1:]
}

// words reads a list as the Dockerfile writes it: ["a", "b"].
func words(list string) []string {
	var all []string
	for word := range strings.SplitSeq(list, ",") {
		all = append(all, strings.Trim(word, ` "`))
	}
	return all
}

// imageOf are the settings of the image in the Dockerfile.
type imageOf struct {
	program, user, port, data, caddyfile, accounts, admin string
	live                                                  []string
}

func dockerfile(t *testing.T) imageOf {
	t.Helper()
	const name = "Dockerfile"
	command := words(found(t, name, `(?m)^CMD \[(.*)\]$`)[0])
	return imageOf{
		program:   found(t, name, `(?m)^ENTRYPOINT \["([^"]+)"\]$`)[0],
		user:      found(t, name, `(?m)^USER (\d+):\d+$`)[0],
		port:      found(t, name, `(?m)^EXPOSE (\d+)$`)[0],
		data:      found(t, name, `(?m)^VOLUME (\S+)$`)[0],
		accounts:  found(t, name, `\bACCOUNTS=(\S+)`)[0],
		admin:     found(t, name, `\bCADDY_ADMIN=(\S+)`)[0],
		caddyfile: command[slices.Index(command, "--config")+1],
		live:      words(found(t, name, `(?m)^HEALTHCHECK .*\\\n\s+CMD \[(.*)\]$`)[0]),
	}
}

func TestDockerfile(t *testing.T) {
	text, image := read(t, "Dockerfile"), dockerfile(t)
	if go_ := found(t, "go.mod", `(?m)^go (\d+\.\d+)`)[0]; !strings.Contains(text, "ARG BUILD_IMAGE=docker.io/library/golang:"+go_+".") {
		t.Errorf("not built with Go %s, as go.mod has it", go_)
	}
	for _, flag := range []string{
		"-tags=" + found(t, "xcaddy.mk", `(?m)^TAGS +:= (\S+)$`)[0], "-trimpath", "-buildvcs=false", "CGO_ENABLED=0",
		`"-ldflags", "` + found(t, "xcaddy.mk", `(?m)^LDFLAGS := (.+)$`)[0],
	} {
		if !strings.Contains(text, flag) {
			t.Errorf("built without %s", flag)
		}
	}
	for _, match := range regexp.MustCompile(`(?m)^COPY .*/src/(\S+) (\S+)$`).FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(match[1]); err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(text, "caddyfile-examples/sidecar.Caddyfile "+image.caddyfile+"\n") {
		t.Error("the Caddyfile is not where the command looks for it")
	}
	if image.admin != "unix/"+image.data+"/admin.sock" {
		t.Errorf("the admin endpoint is at %s: not a socket in the volume", image.admin)
	}
	if image.live[0] != image.program {
		t.Errorf("health is asked of %s", image.live[0])
	}
	if got := found(t, "caddyfile-examples/sidecar.Caddyfile", `\{\$PORT:(\d+)\}`)[0]; got != image.port {
		t.Errorf("the Caddyfile listens on %s, and the image says %s", got, image.port)
	}
	if regexp.MustCompile(`(?m)^RUN [^\[]|^(COPY|ADD) .*https?:`).MatchString(text) {
		t.Error("a step needs a shell, or the network")
	}
}

// imageName is what scripts/image.sh calls the image.
func imageName(t *testing.T) string {
	t.Helper()
	return found(t, "scripts/image.sh", `\$\{IMAGE:-([^}]+)\}`)[0]
}

// variables returns the names of the environment that a Caddyfile reads, and
// whether each has a default.
func variables(text string) map[string]bool {
	all := make(map[string]bool)
	for _, match := range regexp.MustCompile(`\{(?:env\.|\$)([A-Z_]+)(:[^}]*)?\}`).FindAllStringSubmatch(text, -1) {
		all[match[1]] = match[2] != ""
	}
	return all
}

// wantLoads checks that a Caddyfile loads with the environment, which has all
// that it needs, and nothing that it does not read.
func wantLoads(t *testing.T, name, text, accounts string, environment map[string]string) {
	t.Helper()
	reads := variables(text)
	for variable, optional := range reads {
		if _, set := environment[variable]; !set && !optional {
			t.Errorf("%s reads %s, which is not set", name, variable)
		}
	}
	for variable, value := range environment {
		if _, read := reads[variable]; !read {
			t.Errorf("%s does not read %s, which is set", name, variable)
		}
		t.Setenv(variable, value)
	}
	if !strings.Contains(text, accounts) {
		t.Errorf("%s does not read %s", name, accounts)
	}
	text = strings.ReplaceAll(text, accounts, "caddyfile-examples/accounts.txt")
	config, warnings, err := adapttest.Adapt(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		t.Errorf("warning: %s", w)
	}
	if err := adapttest.Validate(config); err != nil {
		t.Error(err)
	}
}

// strictly decodes a document whose every field must be known.
func strictly(t *testing.T, node *yaml.Node, into any) {
	t.Helper()
	var text bytes.Buffer
	if err := yaml.NewEncoder(&text).Encode(node); err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(&text)
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%v in\n%s", err, text.String())
	}
}

// manifests returns the documents of a YAML file by their kind.
func manifests(t *testing.T, name string) map[string]*yaml.Node {
	t.Helper()
	decoder, all := yaml.NewDecoder(strings.NewReader(read(t, name))), make(map[string]*yaml.Node)
	for {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		var kind struct {
			Kind string `yaml:"kind"`
		}
		if err := node.Decode(&kind); err != nil {
			t.Fatal(err)
		}
		if all[kind.Kind] != nil {
			t.Fatalf("two of the kind %s", kind.Kind)
		}
		all[kind.Kind] = &node
	}
}

type composeService struct {
	Image, Build, User, Restart string
	Command, Ports, Networks    []string
	Environment                 map[string]string
	Volumes                     []string
	Healthcheck                 struct {
		Test     []string
		Interval string
		Disable  bool
	}
	DependsOn   map[string]map[string]string `yaml:"depends_on"`
	ReadOnly    bool                         `yaml:"read_only"`
	CapDrop     []string                     `yaml:"cap_drop"`
	SecurityOpt []string                     `yaml:"security_opt"`
}

type composeFile struct {
	Name     string
	Services map[string]composeService
	Networks map[string]struct{ Internal bool }
	Volumes  map[string]struct{}
}

func TestCompose(t *testing.T) {
	var compose composeFile
	strictly(t, manifests(t, "compose.yaml")[""], &compose)
	image := dockerfile(t)
	if got := slices.Sorted(maps.Keys(compose.Services)); !reflect.DeepEqual(got, []string{"app", "redis", "sidecar"}) {
		t.Fatalf("services %v", got)
	}
	for name, service := range compose.Services {
		if !service.ReadOnly || !reflect.DeepEqual(service.CapDrop, []string{"ALL"}) || !reflect.DeepEqual(service.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s may do more than it must", name)
		}
		for _, network := range service.Networks {
			if _, ok := compose.Networks[network]; !ok {
				t.Errorf("%s: no network %s", name, network)
			}
			if name != "sidecar" && !compose.Networks[network].Internal {
				t.Errorf("%s can be reached past the sidecar", name)
			}
		}
		if name != "sidecar" && len(service.Ports) > 0 {
			t.Errorf("%s has the ports %v", name, service.Ports)
		}
		for _, volume := range service.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if _, ok := compose.Volumes[source]; ok {
				continue
			}
			if _, err := os.Stat(source); err != nil || !strings.HasSuffix(volume, ":ro") {
				t.Errorf("%s: the volume %s: %v", name, volume, err)
			}
		}
		for variable, value := range service.Environment {
			if strings.Contains(variable, "PASSWORD") && !strings.HasPrefix(value, "${"+variable+":?") {
				t.Errorf("%s: %s has a default", name, variable)
			}
		}
	}
	sidecar := compose.Services["sidecar"]
	if sidecar.Image != imageName(t) || compose.Services["app"].Image != sidecar.Image || sidecar.Build != "." {
		t.Errorf("image %q", sidecar.Image)
	}
	if want := "127.0.0.1:8080:" + image.port; !reflect.DeepEqual(sidecar.Ports, []string{want}) {
		t.Errorf("ports %v, want %s: without TLS it is for this machine", sidecar.Ports, want)
	}
	if want := []string{"./caddyfile-examples/accounts.txt:" + image.accounts + ":ro", "sidecar:" + image.data}; !reflect.DeepEqual(sidecar.Volumes, want) {
		t.Errorf("volumes %v, want %v", sidecar.Volumes, want)
	}
	if want := append([]string{"CMD"}, slices.DeleteFunc(image.live, func(s string) bool { return s == "--live" })...); !reflect.DeepEqual(sidecar.Healthcheck.Test, want) {
		t.Errorf("health is asked by %v, want %v", sidecar.Healthcheck.Test, want)
	}
	if app := compose.Services["app"]; !slices.Contains(app.Command, ":"+strings.TrimPrefix(sidecar.Environment["UPSTREAM"], "app:")) {
		t.Errorf("the app is at %s, and runs %v", sidecar.Environment["UPSTREAM"], app.Command)
	}
	wantLoads(t, "caddyfile-examples/sidecar.Caddyfile", read(t, "caddyfile-examples/sidecar.Caddyfile"),
		"{$ACCOUNTS:caddyfile-examples/accounts.txt}", sidecar.Environment)
	for variable := range variables(read(t, "caddyfile-examples/sidecar.Caddyfile")) {
		if !strings.Contains(read(t, "docs/sidecar.md"), "| `"+variable+"` |") {
			t.Errorf("docs/sidecar.md does not say what %s is", variable)
		}
	}
}

func TestKubernetes(t *testing.T) {
	documents, image := manifests(t, "deploy/kubernetes.yaml"), dockerfile(t)
	if got := slices.Sorted(maps.Keys(documents)); !reflect.DeepEqual(got, []string{"ConfigMap", "Deployment", "NetworkPolicy", "Service"}) {
		t.Fatalf("kinds %v", got)
	}
	var (
		configMap  kubeConfigMap
		deployment kubeDeployment
		policy     kubeNetworkPolicy
		service    kubeService
	)
	strictly(t, documents["ConfigMap"], &configMap)
	strictly(t, documents["Deployment"], &deployment)
	strictly(t, documents["NetworkPolicy"], &policy)
	strictly(t, documents["Service"], &service)
	pod := deployment.Spec.Template
	for what, labels := range map[string]map[string]string{
		"the Deployment": deployment.Spec.Selector.MatchLabels, "the NetworkPolicy": policy.Spec.PodSelector.MatchLabels,
		"the Service": service.Spec.Selector,
	} {
		if len(labels) == 0 || !reflect.DeepEqual(labels, pod.Metadata.Labels) {
			t.Errorf("%s selects %v, and pods are %v", what, labels, pod.Metadata.Labels)
		}
	}

	// The restricted profile of the Pod Security Standards.
	if c := pod.Spec.SecurityContext; !c.RunAsNonRoot || c.RunAsUser != image.user || c.SeccompProfile["type"] != "RuntimeDefault" {
		t.Errorf("security context %+v", c)
	}
	if pod.Spec.AutomountServiceAccountToken == nil || *pod.Spec.AutomountServiceAccountToken {
		t.Error("the pod has a token for the cluster")
	}
	mounts := make(map[string][]string) // by volume: who mounts it
	for _, c := range pod.Spec.Containers {
		if s := c.SecurityContext; s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem ||
			!reflect.DeepEqual(s.Capabilities["drop"], []string{"ALL"}) {
			t.Errorf("%s: security context %+v", c.Name, s)
		}
		if c.Image != imageName(t) {
			t.Errorf("%s: image %s", c.Name, c.Image)
		}
		if c.Resources.Requests["memory"] == "" || c.Resources.Limits["memory"] == "" || c.Resources.Requests["cpu"] == "" {
			t.Errorf("%s: resources %v", c.Name, c.Resources)
		}
		for _, mount := range c.VolumeMounts {
			mounts[mount.Name] = append(mounts[mount.Name], c.Name+" "+mount.MountPath)
		}
	}
	if want := map[string][]string{
		"caddyfile": {"sidecar " + image.caddyfile}, "accounts": {"sidecar " + image.accounts},
		// The admin endpoint is in it: the app must not see it.
		"data": {"sidecar " + image.data}, "app-data": {"app " + image.data},
	}; !reflect.DeepEqual(mounts, want) {
		t.Errorf("mounts %v, want %v", mounts, want)
	}
	for _, volume := range pod.Spec.Volumes {
		if mounts[volume.Name] == nil {
			t.Errorf("nobody mounts %s", volume.Name)
		}
		delete(mounts, volume.Name)
	}
	if len(mounts) > 0 {
		t.Errorf("there is no volume for %v", mounts)
	}

	sidecar, app := pod.Spec.Containers[0], pod.Spec.Containers[1]
	if got := sidecar.LivenessProbe.Exec.Command; !reflect.DeepEqual(got, image.live) {
		t.Errorf("liveness is asked by %v, want %v", got, image.live)
	}
	if got := append(sidecar.ReadinessProbe.Exec.Command, "--live"); !reflect.DeepEqual(got, image.live) {
		t.Errorf("readiness is asked by %v", got)
	}
	if len(sidecar.Ports) != 1 || len(app.Ports) != 0 || sidecar.Ports[0].ContainerPort != image.port {
		t.Errorf("ports %v and %v, want %s of the sidecar alone", sidecar.Ports, app.Ports, image.port)
	}
	if p := service.Spec.Ports; len(p) != 1 || p[0].TargetPort != sidecar.Ports[0].Name {
		t.Errorf("the Service leads to %v", p)
	}
	if in := policy.Spec.Ingress; !reflect.DeepEqual(policy.Spec.PolicyTypes, []string{"Ingress"}) || len(in) != 1 ||
		!reflect.DeepEqual(in[0].Ports, []map[string]string{{"protocol": "TCP", "port": image.port}}) {
		t.Errorf("the NetworkPolicy lets in %v", in)
	}
	text := configMap.Data[filepath.Base(image.caddyfile)]
	upstream := regexp.MustCompile(`reverse_proxy (127\.0\.0\.1:\d+) `).FindStringSubmatch(text)
	if upstream == nil || !slices.Contains(app.Args, upstream[1]) {
		t.Errorf("the sidecar passes on to %v, and the app has %v", upstream, app.Args)
	}
	environment := make(map[string]string)
	for _, variable := range sidecar.Env {
		environment[variable.Name] = variable.Value
		if secret := variable.ValueFrom["secretKeyRef"]; secret["name"] != "" && secret["key"] != "" {
			environment[variable.Name] = "from the secret"
		}
	}
	if environment["REDIS_PASSWORD"] != "from the secret" {
		t.Error("the password of Redis is not in a secret")
	}
	wantLoads(t, "deploy/kubernetes.yaml", text, image.accounts+"/accounts", environment)
}

// The fields of the Kubernetes API that the manifest uses, and no more: any other
// field is misspelled, or to be added here.
type (
	kubeMeta struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   kubeMetadata
	}
	kubeMetadata struct {
		Name   string
		Labels map[string]string
	}
	kubeSelector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}
	kubeConfigMap struct {
		kubeMeta `yaml:",inline"`
		Data     map[string]string
	}
	kubeService struct {
		kubeMeta `yaml:",inline"`
		Spec     struct {
			Selector map[string]string
			Ports    []struct {
				Name       string
				Port       int
				TargetPort string `yaml:"targetPort"`
			}
		}
	}
	kubeNetworkPolicy struct {
		kubeMeta `yaml:",inline"`
		Spec     struct {
			PodSelector kubeSelector `yaml:"podSelector"`
			PolicyTypes []string     `yaml:"policyTypes"`
			Ingress     []struct{ Ports []map[string]string }
		}
	}
	kubeProbe struct {
		Exec                struct{ Command []string }
		InitialDelaySeconds int `yaml:"initialDelaySeconds"`
		PeriodSeconds       int `yaml:"periodSeconds"`
		TimeoutSeconds      int `yaml:"timeoutSeconds"`
		FailureThreshold    int `yaml:"failureThreshold"`
	}
	kubeContainer struct {
		Name            string
		Image           string
		ImagePullPolicy string `yaml:"imagePullPolicy"`
		Args            []string
		Ports           []struct {
			Name          string
			ContainerPort string `yaml:"containerPort"`
		}
		Env []struct {
			Name, Value string
			ValueFrom   map[string]map[string]string `yaml:"valueFrom"`
		}
		ReadinessProbe  kubeProbe `yaml:"readinessProbe"`
		LivenessProbe   kubeProbe `yaml:"livenessProbe"`
		Resources       struct{ Requests, Limits map[string]string }
		SecurityContext struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             map[string][]string
		} `yaml:"securityContext"`
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			SubPath   string `yaml:"subPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	kubeDeployment struct {
		kubeMeta `yaml:",inline"`
		Spec     struct {
			Replicas int
			Selector kubeSelector
			Template struct {
				Metadata kubeMetadata
				Spec     struct {
					AutomountServiceAccountToken  *bool `yaml:"automountServiceAccountToken"`
					EnableServiceLinks            bool  `yaml:"enableServiceLinks"`
					TerminationGracePeriodSeconds int   `yaml:"terminationGracePeriodSeconds"`
					SecurityContext               struct {
						RunAsNonRoot   bool              `yaml:"runAsNonRoot"`
						RunAsUser      string            `yaml:"runAsUser"`
						RunAsGroup     string            `yaml:"runAsGroup"`
						FSGroup        string            `yaml:"fsGroup"`
						SeccompProfile map[string]string `yaml:"seccompProfile"`
					} `yaml:"securityContext"`
					Containers []kubeContainer
					Volumes    []struct {
						Name      string
						ConfigMap map[string]string `yaml:"configMap"`
						Secret    map[string]string
						EmptyDir  *struct{} `yaml:"emptyDir"`
					}
				}
			}
		}
	}
)
