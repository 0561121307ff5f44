// The OpenFaaS gateway, for one test. It is under the OpenFaaS CE EULA: it is
// built here to be tested against, and is part of nothing that is given away.
module github.com/faas-gpu/faas-gpu/stack/tools/gateway

go 1.26

require github.com/openfaas/faas/gateway v0.0.0-20260702090804-8d803bf9e265
