module penstock.dev/cluster/certificates

go 1.26.0
