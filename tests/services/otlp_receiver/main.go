// Receives OTLP profiles as the OpenTelemetry collector does, and prints what each request came to, a line of JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/xconsumer"
	"go.opentelemetry.io/collector/pdata/pprofile"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/collector/receiver/xreceiver"
)

func sums(profiles pprofile.Profiles) map[string]any {
	dictionary := profiles.Dictionary()
	text := func(index int32) string { return dictionary.StringTable().At(int(index)) }
	values, functions, builds := map[string]int64{}, map[string]bool{}, map[string]bool{}
	for _, resource := range profiles.ResourceProfiles().All() {
		for _, scope := range resource.ScopeProfiles().All() {
			for _, profile := range scope.Profiles().All() {
				name := text(profile.SampleType().TypeStrindex()) + "/" + text(profile.SampleType().UnitStrindex())
				for _, sample := range profile.Samples().All() {
					for _, value := range sample.Values().All() {
						values[name] += value
					}
					stack := dictionary.StackTable().At(int(sample.StackIndex()))
					for _, location := range stack.LocationIndices().All() {
						place := dictionary.LocationTable().At(int(location))
						for _, line := range place.Lines().All() {
							functions[text(dictionary.FunctionTable().At(int(line.FunctionIndex())).NameStrindex())] = true
						}
						mapping := dictionary.MappingTable().At(int(place.MappingIndex()))
						for _, attribute := range mapping.AttributeIndices().All() {
							builds[dictionary.AttributeTable().At(int(attribute)).Value().AsString()] = true
						}
					}
				}
			}
		}
	}
	name, _ := profiles.ResourceProfiles().At(0).Resource().Attributes().Get("service.name")
	return map[string]any{"values": values, "functions": keys(functions), "build_ids": keys(builds), "service": name.AsString()}
}

func keys(set map[string]bool) []string {
	found := []string{}
	for key := range set {
		found = append(found, key)
	}
	return found
}

func print(profiles pprofile.Profiles) {
	line, err := json.Marshal(sums(profiles))
	check(err)
	fmt.Println(string(line))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	if len(os.Args) == 2 {
		content, err := os.ReadFile(os.Args[1])
		check(err)
		profiles, err := (&pprofile.ProtoUnmarshaler{}).UnmarshalProfiles(content)
		check(err)
		print(profiles)
		return
	}
	factory := otlpreceiver.NewFactory().(xreceiver.Factory)
	config := factory.CreateDefaultConfig()
	check(confmap.NewFromStringMap(map[string]any{
		"protocols": map[string]any{
			"grpc": map[string]any{"endpoint": os.Args[1]},
			"http": map[string]any{"endpoint": os.Args[2]},
		},
	}).Unmarshal(config))
	next, err := xconsumer.NewProfiles(func(_ context.Context, profiles pprofile.Profiles) error {
		print(profiles)
		return nil
	}, consumer.WithCapabilities(consumer.Capabilities{}))
	check(err)
	receiver, err := factory.CreateProfiles(context.Background(), receivertest.NewNopSettings(factory.Type()), config, next)
	check(err)
	check(receiver.Start(context.Background(), componenttest.NewNopHost()))
	fmt.Println("ready")
	buffer := make([]byte, 1)
	_, _ = os.Stdin.Read(buffer) // until the test closes it
	check(receiver.Shutdown(context.Background()))
}
